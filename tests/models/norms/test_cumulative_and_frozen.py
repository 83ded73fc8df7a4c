"""Averages in which every batch counts the same, and statistics that never move (science.md section 7, 11, 12)."""

import pytest
import torch
from torch import nn

from models.norms.base import RunningNorm, per_channel
from models.norms.batch import BatchNorm, FrozenBatchNorm
from models.norms.ghost import GhostBatchNorm
from models.norms.lp import LpBatchNorm
from models.norms.noisy import NoisyBatchNorm
from models.norms.renorm import BatchRenorm
from models.norms.running import RunningAverages
from models.norms.sync import SyncBatchNorm
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

FAMILY = [BatchNorm, SyncBatchNorm, GhostBatchNorm, BatchRenorm, NoisyBatchNorm, LpBatchNorm]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def moments_of_batches(norm: RunningNorm, batches: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """The moments of each batch, while the running averages take them in."""
    averages, found = RunningAverages([norm]), []
    for x in batches:
        norm(x)
        averages.update()
        found.append({moment: batch.clone() for moment, batch, _ in norm.running()})
    return found


@pytest.mark.parametrize("layer", FAMILY)
@shapes
def test_cumulative_averages_over_equal_batches_are_the_means_of_their_moments(layer, shape):
    norm = layer(3, momentum=None).double()
    moments = moments_of_batches(norm, [sample(shape, seed) * (1 + seed) for seed in range(7)])
    for moment, _, running in norm.running():
        assert_same([running], [torch.stack([each[moment] for each in moments]).mean(0)], 1e-12)


@shapes
def test_cumulative_averages_equal_stock_batch_norms(shape):
    stock_layer = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    norm, stock = BatchNorm(3, momentum=None).double(), stock_layer(3, momentum=None).double()
    batches = [sample(shape, seed) * (1 + seed) for seed in range(7)]
    moments_of_batches(norm, batches)
    for x in batches:
        stock(x)
    assert_same([norm.running_mean, norm.running_var], [stock.running_mean, stock.running_var], 1e-12)


def test_a_ragged_last_batch_counts_as_much_as_a_whole_one():
    norm, batches = BatchNorm(3, momentum=None).double(), [sample((12, 3)), sample((2, 3), 1)]
    moments_of_batches(norm, batches)
    of_batches = (batches[0].mean(0) + batches[1].mean(0)) / 2
    assert_same([norm.running_mean], [of_batches], 1e-12)
    assert (norm.running_mean - torch.cat(batches).mean(0)).abs().min() > 0.05


@shapes
def test_frozen_batch_norm_is_the_same_affine_map_in_both_modes(shape):
    norm, x = with_random_state(FrozenBatchNorm(3)), sample(shape)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    expected = (x - per_channel(norm.running_mean, x)) * per_channel(scale, x) + per_channel(norm.bias, x)
    for training in (True, False):
        assert_same([norm.train(training)(x)], [expected])
        assert gradients_are_right(norm, x)


def test_frozen_batch_norm_is_what_batch_norm_is_in_eval_mode():
    norm, batch = FrozenBatchNorm(3).double(), with_random_state(BatchNorm(3)).eval()
    norm.load_state_dict({name: v for name, v in batch.state_dict().items() if name != "num_batches_tracked"})
    assert torch.equal(norm.train()(sample((8, 3))), batch(sample((8, 3))))


def test_nothing_in_frozen_batch_norm_is_learned_or_moved():
    norm = FrozenBatchNorm(3).double()
    model = nn.Sequential(nn.Linear(3, 3).double(), norm)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    averages = RunningAverages(model.modules())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.5)
    model.eval()
    model.train()
    for seed in range(3):
        loss_of(model(sample((8, 3), seed))).backward()
        optimizer.step()
        averages.update()
    assert averages.norms == []
    assert list(norm.parameters()) == []
    assert not any(buffer.requires_grad for buffer in norm.buffers())
    assert set(before) == {"weight", "bias", "running_mean", "running_var"}
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_the_gradient_goes_through_frozen_batch_norm_value_by_value():
    norm = with_random_state(FrozenBatchNorm(3))
    x = sample((8, 3)).requires_grad_()
    loss_of(norm(x)[0]).backward()
    assert x.grad[0].abs().min() > 0
    assert x.grad[1:].count_nonzero() == 0


def test_frozen_batch_norm_begins_as_the_identity_but_for_eps():
    found = outputs_and_gradients(FrozenBatchNorm(3).double(), sample((8, 3)))[0]
    assert_same([found], [sample((8, 3)) / (1 + 1e-5) ** 0.5])
    assert channels(found).var(1).min() > 4
