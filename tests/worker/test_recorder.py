"""The numbers of each step, from the device to the host."""

import math

import numpy as np
import pytest
import torch

from worker import recorder as recorders
from worker.errors import Diverged
from worker.recorder import StepRecorder, StepRows


def batch(size: int, correct: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of which so many are right, and targets."""
    targets = torch.arange(size) % 3
    predicted = torch.where(torch.arange(size) < correct, targets, (targets + 1) % 3)
    return torch.nn.functional.one_hot(predicted, 3).float(), targets


def record(recorder: StepRecorder, losses: list[float], first: int = 1, size: int = 4) -> None:
    for step, loss in enumerate(losses, first):
        recorder.record(step, torch.tensor(loss), *batch(size, step % (size + 1)))


def flushed(losses: list[float], every: int = 1) -> StepRows:
    recorder = StepRecorder(every, lambda: 0.5)
    record(recorder, losses)
    return recorder.flush()


def test_loss_and_accuracy_of_ragged_batches_are_exact():
    recorder = StepRecorder(1, lambda: 0.1)
    for step, (size, correct) in enumerate([(7, 3), (2, 2), (5, 0), (1, 1)], 1):
        recorder.record(step, torch.tensor(0.25 * step), *batch(size, correct))
    rows = recorder.flush()
    assert rows.steps == [1, 2, 3, 4]
    assert rows.series["train/loss"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert rows.series["train/accuracy"].tolist() == [3 / 7, 1.0, 0.0, 1.0]
    assert rows.diverged is None


@pytest.mark.parametrize("every", [1, 2, 3, 7, 10, 11])
def test_every_kth_step_is_recorded(every):
    rows = flushed([float(step) for step in range(1, 11)], every)
    assert rows.steps == list(range(every, 11, every))
    if rows.steps:
        assert rows.series["train/loss"].tolist() == rows.steps
        assert rows.series["train/accuracy"].tolist() == [step % 5 / 4 for step in rows.steps]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [1, 4, 6])
def test_the_first_loss_that_is_not_finite_is_found_with_the_rows_up_to_it(bad, at):
    losses = [1.0] * 6
    losses[at - 1] = bad
    rows = flushed([*losses, math.nan, 2.0])
    assert isinstance(rows.diverged, Diverged)
    assert rows.diverged.step == at
    assert str(bad) in str(rows.diverged)
    assert "0.5" in rows.diverged.hint
    assert rows.steps == list(range(1, at + 1))
    np.testing.assert_array_equal(rows.series["train/loss"], losses[:at])
    assert len(rows.series["train/accuracy"]) == at


def test_a_divergence_between_recorded_steps_is_found_too():
    rows = flushed([1.0, 1.0, 1.0, math.nan, 1.0, 1.0], every=3)
    assert rows.diverged.step == 4
    assert rows.steps == [3]
    rows = flushed([math.inf, 1.0, 1.0], every=3)
    assert (rows.diverged.step, rows.steps) == (1, [])


def test_a_flush_empties_and_the_next_one_goes_on():
    recorder = StepRecorder(2, lambda: 0.1)
    record(recorder, [1.0, 2.0, 3.0])
    assert recorder.flush().steps == [2]
    record(recorder, [4.0, 5.0], first=4)
    rows = recorder.flush()
    assert (rows.steps, rows.series["train/loss"].tolist()) == ([4], [4.0])
    empty = recorder.flush()
    assert (empty.steps, empty.diverged) == ([], None)


def test_a_flush_is_due_after_so_many_steps():
    recorder = StepRecorder(1, lambda: 0.1)
    record(recorder, [1.0] * recorders.FLUSH_STEPS, size=1)
    assert recorder.is_full()
    assert len(recorder.flush().steps) == recorders.FLUSH_STEPS
    assert not recorder.is_full()


def test_the_learning_rate_in_the_advice_is_that_of_the_flush():
    rates = [0.5]
    recorder = StepRecorder(1, lambda: rates[-1])
    record(recorder, [math.nan])
    rates.append(0.03125)
    assert "0.03125" in recorder.flush().diverged.hint


def test_recording_keeps_no_graph():
    weight = torch.ones(3, requires_grad=True)
    logits = weight * torch.ones(2, 3)
    recorder = StepRecorder(1, lambda: 0.1)
    recorder.record(1, logits.sum(), logits, torch.zeros(2, dtype=torch.long))
    rows = recorder.flush()
    assert rows.series["train/loss"].tolist() == [6.0]
    assert weight.grad is None
