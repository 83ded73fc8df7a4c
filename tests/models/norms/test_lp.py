"""Lp batch norm against its definition (science.md section 7, item 7)."""

from math import pi, sqrt

import pytest
import torch
from torch import Tensor

from models.blueprint import NormChoice
from models.norms.base import per_channel
from models.norms.batch import BatchNorm
from models.norms.lp import LpBatchNorm
from models.norms.running import RunningAverages
from models.placement import absorbs_bias
from tests.models.norms.checks import (
    SHAPES,
    assert_same,
    channels,
    gradients_are_right,
    loss_of,
    outputs_and_gradients,
    sample,
    with_random_state,
)

powers = pytest.mark.parametrize("p", [1, 2, "inf"])
centred = pytest.mark.parametrize("centered", [True, False], ids=["centred", "uncentred"])


def scale_by_definition(x: Tensor, p, centered: bool) -> Tensor:
    """What each channel is divided by, but for eps."""
    values = channels(x)
    values = values - values.mean(1, keepdim=True) if centered else values
    if p == "inf":
        return values.abs().amax(1)
    factor = sqrt(pi / 2) if p == 1 and centered else 1
    return factor * (values.abs() ** p).mean(1) ** (1 / p)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@powers
@centred
def test_outputs_and_moments_are_the_definitions(shape, p, centered):
    norm, x = with_random_state(LpBatchNorm(3, p=p, centered=centered)), sample(shape)
    mean, scale = channels(x).mean(1), scale_by_definition(x, p, centered)
    y = (x - per_channel(mean, x)) / per_channel(scale + norm.eps, x)
    assert_same([norm(x)], [y * per_channel(norm.weight, x) + per_channel(norm.bias, x)])
    assert_same([norm.batch_mean, norm.batch_scale], [mean, scale])


@powers
@centred
def test_eval_mode_uses_what_was_stored(p, centered):
    norm, x = with_random_state(LpBatchNorm(3, p=p, centered=centered)).eval(), sample((8, 3, 4))
    y = (x - per_channel(norm.running_mean, x)) / per_channel(norm.running_scale + norm.eps, x)
    assert_same([norm(x)], [y * per_channel(norm.weight, x) + per_channel(norm.bias, x)])


@powers
@centred
def test_gradients_are_right(p, centered):
    norm = with_random_state(LpBatchNorm(3, p=p, centered=centered))
    assert gradients_are_right(norm, sample((6, 3, 2)))
    assert gradients_are_right(norm.eval(), sample((6, 3, 2)))


def test_centred_with_p_1_it_is_near_batch_norm_for_normal_values():
    torch.manual_seed(0)
    x = torch.randn(100_000, 4, dtype=torch.float64) * torch.tensor([0.1, 1.0, 3.0, 20.0]) + 5
    y, of_batch_norm = LpBatchNorm(4, centered=True).double()(x), BatchNorm(4).double()(x)
    assert ((y - of_batch_norm).abs().amax(0) / of_batch_norm.abs().amax(0)).max() < 0.01
    # Without the factor sqrt(pi / 2) = 1.25 it would not be.
    assert (LpBatchNorm(4).double()(x - x.mean(0)) - of_batch_norm).abs().max() > 0.2


def test_centred_with_p_2_it_is_batch_norm_as_eps_vanishes():
    norm, batch = (
        with_random_state(norm)
        for norm in (LpBatchNorm(3, p=2, centered=True, eps=1e-14), BatchNorm(3, eps=1e-14))
    )
    x = sample((8, 3, 5))
    assert_same(outputs_and_gradients(norm, x), outputs_and_gradients(batch, x))


@powers
@centred
def test_a_channel_that_is_zero_all_over_has_finite_outputs_and_gradients(p, centered):
    norm, x = LpBatchNorm(3, p=p, centered=centered).double(), sample((8, 3))
    x[:, 1] = 0
    y, *gradients = outputs_and_gradients(norm, x)
    assert y[:, 1].count_nonzero() == 0
    assert all(gradient.isfinite().all() for gradient in gradients)


@powers
@centred
@pytest.mark.parametrize("momentum", [0.1, None], ids=str)
def test_averages_are_of_the_mean_and_the_scale(p, centered, momentum):
    norm = LpBatchNorm(3, p=p, centered=centered, momentum=momentum).double()
    averages, mean, scale = RunningAverages([norm]), torch.zeros(3).double(), torch.ones(3).double()
    for seed in range(5):
        x = sample((8, 3), seed)
        norm(x)
        averages.update()
        share = 1 / (seed + 1) if momentum is None else momentum
        mean = (1 - share) * mean + share * channels(x).mean(1)
        scale = (1 - share) * scale + share * scale_by_definition(x, p, centered)
    assert_same([norm.running_mean, norm.running_scale], [mean, scale], 1e-12)


@pytest.mark.parametrize("p", [1, 2])
def test_the_population_of_ragged_batches_is_that_of_all_values(p):
    norm, x = LpBatchNorm(3, p=p).double(), sample((11, 3, 4))
    raw = torch.zeros(2, 3, dtype=torch.float64)
    for batch in x.split([6, 3, 2]):
        norm(batch)
        raw += norm.raw_moments(len(batch) * 4) * len(batch) / 11
    population = norm.population(raw, 44)
    assert_same([population["mean"], population["scale"]], [channels(x).mean(1), scale_by_definition(x, p, False)])


def test_the_population_of_p_inf_is_the_mean_of_the_largest_values():
    norm, x = LpBatchNorm(3, p="inf").double(), sample((8, 3))
    raws = []
    for batch in x.split(4):
        norm(batch)
        raws.append(norm.raw_moments(4))
    largest = torch.stack([batch.abs().amax(0) for batch in x.split(4)]).mean(0)
    assert_same([norm.population(sum(raws) / 2, 8)["scale"]], [largest], 1e-12)


def test_a_batch_of_one_value_per_channel_is_refused():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        LpBatchNorm(3)(torch.zeros(1, 3))
    assert LpBatchNorm(3)(torch.zeros(1, 3, 2)).shape == (1, 3, 2)


@powers
@centred
@pytest.mark.parametrize("places", [(), (4, 2)], ids=["vectors", "images"])
def test_a_bias_before_it_has_an_effect_and_a_gradient_exactly_where_placement_keeps_it(p, centered, places):
    norm, x = with_random_state(LpBatchNorm(3, p=p, centered=centered)), sample((8, 3, *places))
    bias = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    y = norm(x + per_channel(bias, x))
    loss_of(y).backward()
    absorbed = absorbs_bias(NormChoice(name="lp_batch", options=(("p", p), ("centered", centered))))
    effect, gradient = (y - norm(x)).abs().max(), bias.grad.abs()
    assert absorbed is centered
    assert effect < 1e-12 if absorbed else effect > 1e-2
    assert gradient.max() < 1e-12 if absorbed else gradient.min() > 1e-4
