"""Norms whose statistics, scale and shift are frozen in the middle of a training."""

import pytest
import torch
from torch import nn

from models.cells import LSTM
from models.norms.base import RunningNorm
from models.norms.batch import BatchNorm, StepBatchNorm
from models.norms.evonorm import EvoNormB0
from models.norms.ghost import GhostBatchNorm
from models.norms.lp import LpBatchNorm
from models.norms.noisy import NoisyBatchNorm
from models.norms.renorm import BatchRenorm
from models.norms.running import RunningAverages
from models.norms.sync import SyncBatchNorm
from tests.models.norms.checks import sample

FAMILY = [BatchNorm, SyncBatchNorm, GhostBatchNorm, BatchRenorm, NoisyBatchNorm, LpBatchNorm, EvoNormB0]
SHAPE = (8, 3, 2, 2)


def frozen(layer: type[RunningNorm], **options) -> tuple[RunningNorm, RunningAverages]:
    """A norm that has seen three batches before it is frozen."""
    norm = layer(3, **options).double()
    averages = RunningAverages([norm])
    for seed in range(3):
        norm(sample(SHAPE, seed) * (seed + 1))
        averages.update()
    averages.freeze()
    averages.settle()
    return norm, averages


def state(norm: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in norm.state_dict().items()}


@pytest.mark.parametrize("layer", FAMILY)
def test_train_mode_is_eval_mode(layer):
    norm, _ = frozen(layer)
    x, generator = sample(SHAPE, 9), torch.get_rng_state()
    expected = norm.eval()(x)
    assert torch.equal(norm.train()(x), expected)
    assert torch.equal(torch.get_rng_state(), generator)  # no noise is drawn


@pytest.mark.parametrize("layer", FAMILY)
def test_the_scratch_buffers_still_get_the_moments_of_the_batch(layer):
    norm, _ = frozen(layer)
    other, x = layer(3).double(), sample(SHAPE, 9)
    norm(x)
    other(x)
    for (_, batch, _), (_, expected, _) in zip(norm.running(), other.running(), strict=True):
        assert torch.equal(batch, expected)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("layer", FAMILY)
def test_nothing_is_learned_or_moved_also_not_by_momentum_or_decay(layer, optimizer):
    norm = layer(3)
    model = nn.Sequential(nn.Conv2d(3, 3, 1), norm)
    averages = RunningAverages(model.modules())
    options = {"lr": 0.1, "weight_decay": 0.1} | ({"momentum": 0.9} if optimizer is torch.optim.SGD else {})
    steps = optimizer(model.parameters(), **options)
    for step in range(6):
        if step == 3:
            averages.freeze()
            averages.settle()
            before, weight = state(norm), model[0].weight.clone()
        steps.zero_grad()
        model(sample(SHAPE, step).float()).square().sum().backward()
        steps.step()
        averages.update()
    averages.settle()
    assert before["num_batches_tracked"] == 3
    assert before.keys() == state(norm).keys()
    assert all(torch.equal(value, before[name]) for name, value in state(norm).items())
    assert all(parameter.grad is None for parameter in norm.parameters())
    assert not torch.equal(model[0].weight, weight)  # what stands before it learns on


def test_it_survives_changes_of_mode():
    norm, averages = frozen(BatchNorm)
    before = state(norm)
    norm.eval().train()
    norm(sample(SHAPE, 9))
    averages.update()
    averages.settle()
    assert all(torch.equal(value, before[name]) for name, value in state(norm).items())
    assert norm.seen == 3


def test_the_gradient_of_the_input_is_that_of_eval_mode():
    norm, _ = frozen(BatchNorm)
    weights, gradients = sample(SHAPE, 8), []
    for training in (True, False):
        x = sample(SHAPE, 9).requires_grad_()
        (norm.train(training)(x) * weights).sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)


def test_a_cell_is_the_same_function_in_both_modes_and_begins_without_noise():
    torch.manual_seed(0)
    norms = {
        name: StepBatchNorm(size, steps=4)
        for name, size in (("norm_input", 12), ("norm_hidden", 12), ("norm_cell", 3))
    }
    cell = LSTM(inputs=5, units=3, norms=norms, noise=0.1)
    averages = RunningAverages(cell.modules())
    for _ in range(3):
        cell(torch.randn(8, 4, 5))
        averages.update()
    averages.freeze()
    x, generator = torch.randn(8, 4, 5), torch.get_rng_state()
    assert torch.equal(cell.train()(x), cell.eval()(x))
    assert torch.equal(torch.get_rng_state(), generator)
    inputs = x @ cell.weight_input.T
    cell.train()(x)
    torch.testing.assert_close(norms["norm_input"].batch_mean, inputs.mean(0).detach())
