"""The evolved norms against their formulas, and what B0 keeps of the batch."""

import pytest
import torch
from torch import Tensor

from models.norms.base import RunningNorm
from models.norms.batch import BatchNorm
from models.norms.evonorm import EvoNormB0, EvoNormS0, evonorm_b0
from models.norms.running import RunningAverages
from tests.models.norms.support import CHANNELS, MAPS, SHAPES, draw, randomized


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def biased(values: Tensor) -> Tensor:
    return (values - values.mean()).square().mean()


def s0(x: Tensor, norm: EvoNormS0) -> Tensor:
    """Sample by sample and channel by channel."""
    y, width = torch.empty_like(x), CHANNELS // norm.groups
    for sample in range(x.shape[0]):
        for channel in range(CHANNELS):
            first = channel // width * width
            deviation = (biased(x[sample, first : first + width]) + norm.eps).sqrt()
            values = x[sample, channel]
            gated = values / (1 + (-norm.v[channel] * values).exp())
            y[sample, channel] = norm.weight[channel] * gated / deviation + norm.bias[channel]
    return y


def b0(x: Tensor, norm: EvoNormB0, var: list[Tensor]) -> Tensor:
    """Sample by sample and channel by channel; `var` is of the batch, or as stored."""
    y = torch.empty_like(x)
    for sample in range(x.shape[0]):
        for channel in range(CHANNELS):
            values = x[sample, channel]
            of_batch = (var[channel] + norm.eps).sqrt()
            of_instance = (biased(values) + norm.eps).sqrt()
            divisor = (norm.v[channel] * values + of_instance).clamp(min=of_batch.item())
            y[sample, channel] = norm.weight[channel] * values / divisor + norm.bias[channel]
    return y


def variances(x: Tensor) -> list[Tensor]:
    return [biased(x[:, channel]) for channel in range(CHANNELS)]


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("eps", [1e-5, 0.3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@torch.no_grad()
def test_s0_equals_its_formula(shape, eps, groups):
    norm = randomized(EvoNormS0(CHANNELS, groups=groups, eps=eps, activation=True))
    # A group of one value in a vector has no variance: its output is of the order of 1 / sqrt(eps).
    torch.testing.assert_close(norm(draw(shape)), s0(draw(shape), norm), rtol=1e-10, atol=1e-10)


def test_s0_refuses_channels_that_its_groups_do_not_divide():
    with pytest.raises(ValueError, match="6 channels are not divisible by 4 groups"):
        EvoNormS0(CHANNELS, groups=4)


@pytest.mark.parametrize("eps", [1e-5, 0.3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@torch.no_grad()
def test_b0_equals_its_formula_with_the_variance_of_the_batch_in_train_mode(shape, eps):
    norm, x = randomized(EvoNormB0(CHANNELS, eps=eps)).train(), draw(shape)
    close(norm(x), b0(x, norm, variances(x)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@torch.no_grad()
def test_b0_equals_its_formula_with_the_stored_variance_in_eval_mode(shape):
    norm, x = randomized(EvoNormB0(CHANNELS)).eval(), draw(shape)
    before = {name: value.clone() for name, value in norm.named_buffers()}
    close(norm(x), b0(x, norm, list(norm.running_var)))
    close(norm(x[:1]), b0(x[:1], norm, list(norm.running_var)))
    assert all(torch.equal(value, before[name]) for name, value in norm.named_buffers())


def test_both_sides_of_the_maximum_of_b0_occur():
    norm, x = randomized(EvoNormB0(CHANNELS)), draw(MAPS)
    y = norm(x)
    linear = norm.weight.view(-1, 1, 1) * x / x.var((0, 2, 3), correction=0, keepdim=True).sqrt()
    linear = linear + norm.bias.view(-1, 1, 1)
    share = torch.isclose(y, linear, rtol=1e-4).double().mean()
    assert 0.1 < share < 0.9


@pytest.mark.parametrize(
    "make", [lambda **on: EvoNormS0(CHANNELS, groups=2, **on), lambda **on: evonorm_b0(CHANNELS, **on)]
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["train mode", "eval mode"])
def test_without_activation_only_scale_and_shift_stay(make, shape, training):
    norm = randomized(make()).train(training)
    assert [name for name, _ in norm.named_parameters()] == ["weight", "bias"]
    trailing = [1] * (len(shape) - 2)
    x = draw(shape)
    close(norm(x), norm.weight.view(-1, *trailing) * x + norm.bias.view(-1, *trailing))


@pytest.mark.parametrize("make", [EvoNormS0, evonorm_b0])
def test_with_activation_v_begins_at_one_for_each_channel(make):
    parameters = dict(make(32, activation=True).named_parameters())
    assert set(parameters) == {"weight", "bias", "v"}
    assert torch.equal(parameters["v"], torch.ones(32))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scratch_holds_the_unbiased_variance_of_the_latest_batch_and_nothing_else_moves(shape):
    norm = randomized(EvoNormB0(CHANNELS)).train()
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    norm(draw(shape) * 5)  # what an earlier batch left must not matter
    norm(draw(shape)).sum().backward()
    close(norm.batch_var, draw(shape).movedim(1, 0).flatten(1).var(1))
    assert list(before) == ["weight", "bias", "v", "running_var", "num_batches_tracked"]
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


@pytest.mark.parametrize("momentum", [0.1, 1.0, None])
def test_running_variance_moves_as_that_of_batch_norm_does(momentum):
    evolved, batch = (make(CHANNELS, momentum=momentum).double() for make in (EvoNormB0, BatchNorm))
    averages = RunningAverages([evolved, batch])
    for step in range(1, 5):
        for norm in (evolved, batch):
            norm(step * draw(MAPS))
        averages.update()
    averages.settle()
    close(evolved.running_var, batch.running_var)
    assert evolved.num_batches_tracked.item() == 4
    assert list(averages.of(evolved, averages.copy()[None])) == ["train.var", "eval.var"]
    assert list(evolved.stored_moments()) == ["var"]


def test_raw_moments_of_ragged_batches_give_the_variance_of_the_population():
    norm, x = EvoNormB0(CHANNELS).double(), draw((10, *MAPS[1:]))
    positions, total = x[0, 0].numel(), 0
    for part in x.split([5, 3, 2]):
        norm(part)
        values = len(part) * positions
        total = total + values * norm.raw_moments(values)
    count = len(x) * positions
    population = norm.population(total / count, count)
    assert list(population) == ["var"]
    close(population["var"], x.movedim(1, 0).flatten(1).var(1))


def test_one_value_per_channel_is_refused_in_train_mode_as_batch_norm_refuses_it():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        EvoNormB0(3).train()(torch.zeros(1, 3))
    assert EvoNormB0(3).eval()(torch.zeros(1, 3)).shape == (1, 3)


def test_b0_without_activation_has_nothing_for_running_averages_to_move():
    site = evonorm_b0(CHANNELS).double()
    assert not isinstance(site, RunningNorm)
    assert list(site.buffers()) == []
    assert not site.uses_batch
    assert evonorm_b0(CHANNELS, activation=True).uses_batch
    averages = RunningAverages(site.modules())
    averages.update()
    averages.settle()
    assert averages.norms == []
    assert dict(site.stored_moments()) == {}
