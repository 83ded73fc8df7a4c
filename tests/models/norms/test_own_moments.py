"""The moments that a recorded step asks a site for."""

import pytest
import torch
from torch import Tensor

from models.blueprint import Blueprint, Init, chain
from models.build import build
from models.catalog.records import Form
from models.catalog.registry import norms
from models.kinds.base import Layer
from models.kinds.layers import Norm, NormActivation
from models.norms.dyt import DyT
from models.norms.evonorm import EvoNormB0, EvoNormS0, evonorm_b0
from models.norms.group import GroupNorm, InstanceNorm
from models.norms.layer import LayerNorm, RMSNorm
from models.norms.response import FilterResponseNorm, LocalResponseNorm
from models.norms.table import NORM_LAYERS
from models.shapes import sites
from tests.models.norms.support import CHANNELS, MAPS, SHAPES, VECTORS, draw, spec

KINDS = {"norm": Norm, "fused": NormActivation}
#: Norm, kind and shape of a sample, for every norm that stands at sites.
SITES = [
    (name, kind, shape)
    for name in NORM_LAYERS
    for kind in ("norm", *(["fused"] if norms()[name].form is Form.FUSED else []))
    for shape in ((64,), (64, 3, 4))
    if len(shape) > 1 or norms()[name].positions == 1
]


def site_of(name: str, kind: str, shape: tuple[int, ...]) -> Blueprint:
    """A network of nothing but the site, with the norm's default options."""
    layer: Layer = KINDS[kind](norm=name, features=shape[0], options=spec(name).options(1000))
    return Blueprint(architecture="test", input_shape=shape, outputs=1, init=Init(), body=chain(("norm1", layer)))


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values.to(found[name].dtype), rtol=1e-10, atol=1e-10)


def of_slices(x: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of groups of channels, sample by sample, and then their means over the samples."""
    parts = [sample.reshape(groups, -1) for sample in x]
    means = torch.stack([part.mean(1) for part in parts]).mean(0)
    return means, torch.stack([part.var(1, correction=0) for part in parts]).mean(0)


@pytest.mark.parametrize(("name", "kind", "shape"), SITES, ids=str)
def test_a_site_records_as_many_finite_numbers_as_the_catalogue_says(name, kind, shape):
    blueprint = site_of(name, kind, shape)
    (site,) = sites(blueprint)
    norm, x = build(blueprint).norm1, draw((4, *shape), torch.float32)
    norm(x)
    own = norm.own_moments(x)
    assert own
    for moment, values in own.items():
        assert (moment, tuple(values.shape)) == (moment, (site.moments,))
        assert values.isfinite().all()
        assert not values.requires_grad
    assert set(norm.stored_moments()) <= {"mean", "var", "scale", "std"}
    assert all(tuple(values.shape) == (site.moments,) for values in norm.stored_moments().values())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layer_norm_shows_mean_and_variance_of_a_sample(shape):
    mean, var = of_slices(draw(shape), 1)
    same(LayerNorm(CHANNELS).own_moments(draw(shape)), {"mean": mean, "var": var})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layer_norm_over_channels_shows_the_average_over_positions_too(shape):
    by_position = draw(shape).movedim(1, -1).reshape(-1, CHANNELS)
    expected = {"mean": by_position.mean(1).mean(), "var": by_position.var(1, correction=0).mean()}
    found = LayerNorm(CHANNELS, over="channels").own_moments(draw(shape))
    same(found, {name: value.view(1) for name, value in expected.items()})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rms_norm_shows_the_root_mean_square_of_a_sample_or_position(shape):
    roots = draw(shape).flatten(1).square().mean(1).sqrt()
    same(RMSNorm(CHANNELS).own_moments(draw(shape)), {"scale": roots.mean().view(1)})
    by_position = draw(shape).movedim(1, -1).reshape(-1, CHANNELS).square().mean(1).sqrt()
    found = RMSNorm(CHANNELS, over="channels").own_moments(draw(shape))
    same(found, {"scale": by_position.mean().view(1)})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_group_norm_and_s0_show_the_moments_of_each_group(shape, groups):
    mean, var = of_slices(draw(shape), groups)
    same(GroupNorm(CHANNELS, groups=groups).own_moments(draw(shape)), {"mean": mean, "var": var})
    for activation in (True, False):
        same(EvoNormS0(CHANNELS, groups=groups, activation=activation).own_moments(draw(shape)), {"var": var})


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_instance_norm_shows_the_moments_of_each_channel_of_a_sample(shape):
    mean, var = of_slices(draw(shape), CHANNELS)
    same(InstanceNorm(CHANNELS).own_moments(draw(shape)), {"mean": mean, "var": var})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_filter_response_norm_shows_the_root_mean_square_of_each_channel(shape):
    roots = torch.stack([sample.reshape(CHANNELS, -1).square().mean(1).sqrt() for sample in draw(shape)])
    same(FilterResponseNorm(CHANNELS).own_moments(draw(shape)), {"scale": roots.mean(0)})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_b0_shows_the_variance_of_the_batch_that_normalizes(shape):
    channels = draw(shape).movedim(1, 0).flatten(1)
    same(EvoNormB0(CHANNELS).own_moments(draw(shape)), {"var": channels.var(1, correction=0)})


@pytest.mark.parametrize("make", [DyT, LocalResponseNorm, evonorm_b0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layers_without_moments_show_those_of_each_channel_in_the_batch(make, shape):
    channels = draw(shape).movedim(1, 0).flatten(1)
    expected = {"mean": channels.mean(1), "var": channels.var(1, correction=0)}
    same(make(CHANNELS).own_moments(draw(shape)), expected)


@pytest.mark.parametrize("make", [LayerNorm, RMSNorm, InstanceNorm, FilterResponseNorm, EvoNormB0, DyT])
def test_moments_of_half_precision_are_computed_in_float32(make):
    x = (draw(MAPS, torch.float32) + 30).bfloat16()
    for name, values in make(CHANNELS).own_moments(x).items():
        assert values.dtype == torch.float32
        expected = make(CHANNELS).own_moments(x.double())[name]
        torch.testing.assert_close(values.double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("norm", [LayerNorm(CHANNELS), GroupNorm(CHANNELS, groups=2)])
def test_the_moments_that_are_shown_are_those_that_normalize(norm):
    """One sample, so that the average over samples is its own."""
    for shape in (VECTORS, MAPS):
        x = draw(shape)[:1]
        own = norm.double().own_moments(x)
        parts = x.reshape(len(own["mean"]), -1)
        expected = (parts - own["mean"][:, None]) / (own["var"][:, None] + norm.eps).sqrt()
        torch.testing.assert_close(norm(x), expected.reshape(x.shape), rtol=1e-10, atol=1e-10)
