"""Learned numbers of each norm: those of the catalogue, of the torch-free account, and of the layer."""

import pytest

from models.catalog.norms import NORMS
from models.catalog.records import Form, NormInfo
from models.catalog.registry import norms
from models.kinds.base import OptionValue
from models.kinds.layers import Norm, NormActivation
from models.measures import MEASURES
from models.norms.base import Normalization
from models.norms.table import NORM_LAYERS, make_norm
from tests.models.norms.support import spec

FEATURES, POSITIONS = 64, (3, 5)
WITH_AFFINE = [name for name in NORM_LAYERS if "affine" in type(spec(name)).model_fields]
FUSED = [name for name in NORM_LAYERS if norms()[name].form is Form.FUSED]


def options_of(name: str, **chosen: OptionValue) -> dict[str, OptionValue]:
    return dict(spec(name, **chosen).options(1000))


def held(norm: Normalization) -> int:
    return sum(parameter.numel() for parameter in norm.parameters())


def measured(layer: Norm | NormActivation) -> int:
    count: int = MEASURES[type(layer)](layer, (FEATURES, *POSITIONS)).parameters
    return count


def catalogued(info: NormInfo, *, affine: bool = True, fused: bool = False) -> int:
    each = (info.per_channel if affine else 0) + (info.fused_per_channel if fused else 0)
    return FEATURES * each + info.per_site


@pytest.mark.parametrize("name", NORM_LAYERS)
def test_a_norm_holds_the_learned_numbers_of_the_catalogue(name):
    options = options_of(name)
    layer = Norm(norm=name, features=FEATURES, options=tuple(options.items()))
    affine = bool(options.get("affine", True))
    assert (
        held(make_norm(name, FEATURES, **options)) == catalogued(norms()[name], affine=affine) == measured(layer)
    )


@pytest.mark.parametrize("name", WITH_AFFINE)
@pytest.mark.parametrize("affine", [True, False])
def test_a_scale_and_a_shift_are_learned_only_if_asked_for(name, affine):
    options = options_of(name, affine=affine)
    layer = Norm(norm=name, features=FEATURES, options=tuple(options.items()))
    count = held(make_norm(name, FEATURES, **options))
    assert count == catalogued(norms()[name], affine=affine) == measured(layer)
    assert (count > 0) == affine


@pytest.mark.parametrize("name", FUSED)
def test_a_norm_that_is_the_activation_too_holds_one_number_more_of_each_channel(name):
    options = options_of(name)
    layer = NormActivation(norm=name, features=FEATURES, options=tuple(options.items()))
    count = held(make_norm(name, FEATURES, activation=True, **options))
    assert count == catalogued(norms()[name], fused=True) == measured(layer)
    assert count == held(make_norm(name, FEATURES, **options)) + FEATURES


def test_every_norm_that_stands_at_sites_has_a_layer():
    assert set(NORM_LAYERS) == {name for name, info in NORMS.items() if info.form in (Form.LAYER, Form.FUSED)}
    assert set(FUSED) == {"filter_response", "evonorm_s0", "evonorm_b0"}
