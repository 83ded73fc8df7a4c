"""Batch norms that keep a statistic for each time step, none at all, or move theirs by themselves."""

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from models.norms.batch import BatchNorm, StepBatchNorm, UntrackedBatchNorm, batch_norm
from models.norms.running import RunningAverages
from tests.models.norms.checks import (
    SHAPES,
    assert_same,
    gradients_are_right,
    outputs_and_gradients,
    sample,
    with_random_state,
)

STOCK = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
affines = pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
trainings = pytest.mark.parametrize("training", [True, False], ids=["train mode", "eval mode"])


class MovingBatchNorm(BatchNorm):
    moves_itself = True


class MovingStepBatchNorm(StepBatchNorm):
    moves_itself = True


@shapes
@affines
@trainings
def test_untracked_batch_norm_equals_stock_batch_norm_without_running_stats(shape, affine, training):
    ours = with_random_state(UntrackedBatchNorm(3, affine=affine)).train(training)
    stock = with_random_state(STOCK[len(shape)](3, affine=affine, track_running_stats=False)).train(training)
    assert_same(outputs_and_gradients(ours, sample(shape)), outputs_and_gradients(stock, sample(shape)))
    assert list(ours.state_dict()) == list(stock.state_dict())
    assert list(ours.buffers()) == []


def test_untracked_batch_norm_has_the_right_gradients():
    assert gradients_are_right(with_random_state(UntrackedBatchNorm(3)), sample((5, 3, 2)))


@shapes
@affines
@pytest.mark.parametrize("momentum", [0.001, 0.1, 1.0, None], ids=str)
def test_a_batch_norm_that_moves_itself_equals_stock_batch_norm_over_many_steps(shape, affine, momentum):
    ours = MovingBatchNorm(3, momentum=momentum, affine=affine).double()
    stock = STOCK[len(shape)](3, momentum=momentum, affine=affine).double()
    for seed in range(20):
        x = sample(shape, seed) * (1 + seed)
        assert_same(outputs_and_gradients(ours, x), outputs_and_gradients(stock, x))
    assert list(ours.state_dict()) == list(stock.state_dict())
    assert_same(list(ours.state_dict().values()), list(stock.state_dict().values()), 1e-12)
    assert_same([ours.eval()(sample(shape))], [stock.eval()(sample(shape))])


def test_a_loaded_state_tells_how_many_batches_have_been_seen_and_counting_goes_on():
    ours, stock = MovingBatchNorm(3, momentum=None).double(), nn.BatchNorm1d(3, momentum=None).double()
    for seed in range(4):
        stock(sample((8, 3), seed))
    ours(sample((8, 3)))  # it has counted before
    ours.load_state_dict(stock.state_dict())
    assert ours.seen == 4
    for seed in range(4, 7):
        ours(sample((8, 3), seed))
        stock(sample((8, 3), seed))
    assert (ours.seen, ours.num_batches_tracked.item()) == (7, 7)
    assert_same([ours.running_mean, ours.running_var], [stock.running_mean, stock.running_var], 1e-12)


class ReadByTheHost(TorchFunctionMode):
    """How often a tensor was asked for its value."""

    count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count += func in (Tensor.__int__, Tensor.item, Tensor.__bool__, Tensor.tolist, Tensor.__float__)
        return func(*args, **(kwargs or {}))


def test_moving_the_averages_reads_nothing_from_the_device_but_the_count_of_a_loaded_state():
    norm = MovingBatchNorm(3, momentum=None).double()
    norm.load_state_dict(MovingBatchNorm(3).double().state_dict())
    with ReadByTheHost() as read:
        counts = []
        for seed in range(3):
            norm(sample((8, 3), seed))
            counts.append(read.count)
    assert counts == [1, 1, 1]


def test_the_count_that_is_written_into_the_buffer_is_the_one_that_a_norm_knows():
    norm = MovingBatchNorm(3).double()
    norm.moves_itself = False
    averages = RunningAverages([norm])
    for seed in range(3):
        norm(sample((8, 3), seed))
        averages.update()
    averages.settle()
    norm.moves_itself = True
    norm(sample((8, 3)))
    assert (norm.seen, norm.num_batches_tracked.item()) == (4, 4)


def stock_of_each_step(norm: StepBatchNorm) -> nn.ModuleList:
    """torch's own batch norm for each time step, all with the same scale and shift."""
    stocks = nn.ModuleList(nn.BatchNorm1d(norm.features, momentum=norm.momentum) for _ in range(norm.steps))
    for stock in stocks.double():
        stock.weight = norm.weight
        stock.bias = norm.bias
    return stocks


@pytest.mark.parametrize("momentum", [0.1, None], ids=str)
@pytest.mark.parametrize("moves_itself", [True, False])
def test_each_time_step_is_a_stock_batch_norm_of_its_own(momentum, moves_itself):
    norm = (MovingStepBatchNorm if moves_itself else StepBatchNorm)(3, steps=4, momentum=momentum).double()
    averages, stocks = RunningAverages([] if moves_itself else [norm]), stock_of_each_step(norm)
    for seed in range(3):
        for step, x in enumerate(sample((8, 3, 4), seed).unbind(2)):
            assert_same([norm(x * (step + 1), step)], [stocks[step](x * (step + 1))])
        norm.end_sequence(4)
        averages.update()
    averages.settle()
    assert_same(norm.running_mean, [stock.running_mean for stock in stocks], 1e-12)
    assert_same(norm.running_var, [stock.running_var for stock in stocks], 1e-12)
    assert norm.num_batches_tracked.item() == 3
    for step, x in enumerate(sample((8, 3, 4)).unbind(2)):
        assert_same([norm.eval()(x, step)], [stocks[step].eval()(x)])


def test_beyond_the_last_time_step_its_statistics_are_used():
    norm = with_random_state(StepBatchNorm(3, steps=3)).eval()
    x = sample((8, 3))
    assert torch.equal(norm(x, 6), norm(x, 2))
    assert not torch.equal(norm(x, 0), norm(x, 1))


def test_in_train_mode_time_steps_beyond_the_last_one_are_normalized_and_kept_nowhere():
    norm = with_random_state(StepBatchNorm(3, steps=2))
    last = norm(sample((8, 3)), 1)
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    y = norm(sample((8, 3)) * 2 + 5, 2)
    assert_same([y], [last], 1e-5)  # the same but for eps
    assert all(torch.equal(buffer, before[name]) for name, buffer in norm.named_buffers())


@pytest.mark.parametrize(("length", "moved"), [(2, [True, True, False]), (3, [True] * 3), (5, [True] * 3)])
def test_at_the_end_of_a_sequence_the_averages_of_its_own_time_steps_move(length, moved):
    norm, before = MovingStepBatchNorm(3, steps=3, momentum=0.5).double(), torch.zeros(3, 3).double()
    for step in range(length):
        norm(sample((8, 3), seed=step), step)
    assert torch.equal(norm.running_mean, before)
    norm.end_sequence(length)
    expected = [sample((8, 3), seed=step).mean(0) / 2 if own else before[0] for step, own in enumerate(moved)]
    assert_same(norm.running_mean, expected)
    assert (norm.num_batches_tracked.item(), norm.seen) == (1, 1)
    norm.eval().end_sequence(length)
    assert norm.num_batches_tracked.item() == 1


def test_one_that_does_not_move_itself_is_left_alone_at_the_end_of_a_sequence():
    norm = StepBatchNorm(3, steps=2)
    norm(sample((8, 3), dtype=torch.float32), 0)
    norm.end_sequence(1)
    assert norm.running_mean.count_nonzero() == norm.num_batches_tracked == 0


def test_a_time_step_in_train_mode_leaves_those_of_the_others_and_the_running_ones_alone():
    norm = with_random_state(StepBatchNorm(3, steps=3))
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    norm(sample((8, 3)), 1)
    after = dict(norm.named_buffers())
    assert all(torch.equal(after[name], before[name]) for name in ("running_mean", "running_var"))
    assert torch.equal(after["batch_mean"][[0, 2]], before["batch_mean"][[0, 2]])
    assert_same([after["batch_mean"][1]], [sample((8, 3)).mean(0)])


def test_step_batch_norm_begins_with_a_small_scale_and_may_have_no_shift():
    with_shift, without = StepBatchNorm(3, steps=2), StepBatchNorm(3, steps=2, shift=False)
    assert with_shift.weight.tolist() == pytest.approx([0.1] * 3)
    assert with_shift.bias.tolist() == [0, 0, 0]
    assert [name for name, _ in without.named_parameters()] == ["weight"]


@trainings
def test_step_batch_norm_has_the_right_gradients(training):
    norm = with_random_state(StepBatchNorm(3, steps=2)).train(training)
    assert gradients_are_right(norm, sample((5, 3)))


def test_the_options_of_a_site_choose_the_kind_of_batch_norm():
    assert type(batch_norm(3)) is BatchNorm
    assert type(batch_norm(3, track=False)) is UntrackedBatchNorm
    assert type(batch_norm(3, steps=4, shift=False)) is StepBatchNorm
