"""Ghost batch norm is batch norm of each chunk (science.md section 7, item 4)."""

import pytest
import torch
from torch import nn

from models.norms.batch import BatchNorm
from models.norms.ghost import GhostBatchNorm, chunk_sizes
from models.norms.running import RunningAverages
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

momenta = pytest.mark.parametrize("momentum", [0.001, 0.1, 1.0, None], ids=str)
#: Samples of a batch, the size of a chunk, and the chunks of that.
CUTS = [(12, 4, [4, 4, 4]), (14, 4, [4, 4, 4, 2]), (13, 4, [4, 4, 5]), (3, 4, [3]), (4, 4, [4]), (5, 4, [5])]


def trained(norm, batches, *, moves_itself=False):
    """Running mean, running variance and their count after some batches."""
    averages = None if moves_itself else RunningAverages([norm])
    for x in batches:
        norm(x)
        if averages:
            averages.update()
    if averages:
        averages.settle()
    return [norm.running_mean, norm.running_var, norm.num_batches_tracked]


@pytest.mark.parametrize(("samples", "size", "expected"), CUTS, ids=str)
def test_what_is_left_over_is_a_chunk_unless_it_is_one_sample(samples, size, expected):
    assert chunk_sizes(samples, size) == expected


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@momenta
def test_one_chunk_is_batch_norm_bit_for_bit(shape, momentum):
    ghost, batch = GhostBatchNorm(3, size=8, momentum=momentum).double(), BatchNorm(3, momentum=momentum).double()
    x = sample(shape)
    for one, other in zip(outputs_and_gradients(ghost, x), outputs_and_gradients(batch, x), strict=True):
        assert torch.equal(one, other)
    batches = [sample(shape, seed) for seed in range(5)]
    for one, other in zip(trained(ghost, batches), trained(batch, batches), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("samples", [12, 14, 13])
@momenta
def test_buffers_equal_one_update_of_stock_batch_norm_for_each_chunk(samples, momentum):
    norm, stock = (
        GhostBatchNorm(3, size=4, momentum=momentum).double(),
        nn.BatchNorm1d(3, momentum=momentum).double(),
    )
    # A whole batch between ragged ones, so that the number of chunks changes.
    batches = [sample((n, 3), seed) for seed, n in enumerate([samples, 8, samples])]
    for x in batches:
        for chunk in x.split(chunk_sizes(len(x), 4)):
            stock(chunk)
    expected = [stock.running_mean, stock.running_var, stock.num_batches_tracked]
    assert_same(trained(norm, batches), expected, 1e-13)


@momenta
def test_moving_itself_and_being_moved_is_the_same(momentum):
    class Moving(GhostBatchNorm):
        moves_itself = True

    batches = [sample((n, 3, 2), n) for n in (12, 13, 7)]
    moved = trained(GhostBatchNorm(3, size=4, momentum=momentum).double(), batches)
    moving = trained(Moving(3, size=4, momentum=momentum).double(), batches, moves_itself=True)
    for one, other in zip(moving, moved, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("samples", [8, 7])
@pytest.mark.parametrize("places", [(), (4, 2)], ids=["vectors", "images"])
def test_each_chunk_is_normalized_by_itself(samples, places):
    norm, batch = with_random_state(GhostBatchNorm(3, size=3)), with_random_state(BatchNorm(3))
    x = sample((samples, 3, *places))
    expected = torch.cat([batch(chunk) for chunk in x.split(chunk_sizes(samples, 3))])
    assert torch.equal(norm(x), expected)
    assert torch.equal(norm.eval()(x), batch.eval()(x))


def test_other_chunks_have_no_gradient_and_the_own_one_is_right():
    norm = with_random_state(GhostBatchNorm(3, size=3))
    x = sample((7, 3, 2)).requires_grad_()
    loss_of(norm(x)[:3]).backward()
    assert x.grad[:3].abs().max() > 1e-3
    assert x.grad[3:].count_nonzero() == 0
    assert gradients_are_right(norm, x.detach())


@pytest.mark.parametrize("samples", [12, 14, 13])
def test_raw_moments_are_those_of_all_values_of_the_batch(samples):
    norm, x = GhostBatchNorm(3, size=4).double(), sample((samples, 3, 5))
    norm(x)
    raw, values = norm.raw_moments(samples * 5), channels(x)
    assert_same(raw, [values.mean(1), values.square().mean(1)], 1e-12)
    population = norm.population(raw, samples * 5)
    assert_same([population["mean"], population["var"]], [values.mean(1), values.var(1)], 1e-12)


@pytest.mark.parametrize("samples", [3, 12, 14, 13])
@momenta
def test_the_latest_batches_are_the_chunks(samples, momentum):
    norm, x = GhostBatchNorm(3, size=4, momentum=momentum).double(), sample((samples, 3, 5))
    norm(x)
    values, moments = norm.latest_batches(samples * 5)
    chunks = [channels(chunk) for chunk in x.split(chunk_sizes(samples, 4))]
    assert values == [chunk.shape[1] for chunk in chunks]
    assert_same(list(moments[0]), [chunk.mean(1) for chunk in chunks], 1e-12)
    assert_same(list(moments[1]), [chunk.var(1) for chunk in chunks], 1e-12)


def test_a_batch_of_one_value_per_channel_is_refused():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        GhostBatchNorm(3, size=4)(torch.zeros(1, 3))
