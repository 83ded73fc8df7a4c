"""The numbers of each step, from the device to the host."""

import math

import numpy as np
import pytest
import torch

from worker import recorder as recorders
from worker.errors import Diverged
from worker.objective import Classification, Regression
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
    recorder = StepRecorder(Classification(), every, lambda: 0.5)
    record(recorder, losses)
    return recorder.flush()


def test_loss_and_accuracy_of_ragged_batches_are_exact():
    recorder = StepRecorder(Classification(), 1, lambda: 0.1)
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
    recorder = StepRecorder(Classification(), 2, lambda: 0.1)
    record(recorder, [1.0, 2.0, 3.0])
    assert recorder.flush().steps == [2]
    record(recorder, [4.0, 5.0], first=4)
    rows = recorder.flush()
    assert (rows.steps, rows.series["train/loss"].tolist()) == ([4], [4.0])
    empty = recorder.flush()
    assert (empty.steps, empty.diverged) == ([], None)


def test_a_flush_is_due_after_so_many_steps():
    recorder = StepRecorder(Classification(), 1, lambda: 0.1)
    record(recorder, [1.0] * recorders.FLUSH_STEPS, size=1)
    assert recorder.is_full()
    assert len(recorder.flush().steps) == recorders.FLUSH_STEPS
    assert not recorder.is_full()


def test_the_learning_rate_in_the_advice_is_that_of_the_flush():
    rates = [0.5]
    recorder = StepRecorder(Classification(), 1, lambda: rates[-1])
    record(recorder, [math.nan])
    rates.append(0.03125)
    assert "0.03125" in recorder.flush().diverged.hint


def test_recording_keeps_no_graph():
    weight = torch.ones(3, requires_grad=True)
    logits = weight * torch.ones(2, 3)
    recorder = StepRecorder(Classification(), 1, lambda: 0.1)
    recorder.record(1, logits.sum(), logits, torch.zeros(2, dtype=torch.long))
    rows = recorder.flush()
    assert rows.series["train/loss"].tolist() == [6.0]
    assert weight.grad is None


@pytest.mark.parametrize("every", [1, 2])
def test_numbers_of_a_regression_are_those_of_all_samples_of_a_step(every):
    """Against float64 by hand, over ragged batches of which each step has three."""
    generator = torch.Generator().manual_seed(0)
    objective, expected = Regression(), []
    recorder = StepRecorder(objective, every, lambda: 0.1)
    for step in range(1, 5):
        # A mean far from 0: sums of squares would lose the spread.
        targets = [torch.randn(size, 3, generator=generator) + 100 for size in (8, 8, step)]
        outputs = [part + 0.3 * torch.randn(part.shape, generator=generator) for part in targets]
        for guess, part in zip(outputs, targets, strict=True):
            recorder.record(step, objective.loss(guess, part), guess, part)
        y, guess = torch.cat(targets).double(), torch.cat(outputs).double()
        error, spread = (guess - y).square(), (y - y.mean(0)).square()
        expected.append((step, error.mean(), error.mean().sqrt(), 1 - error.sum() / spread.sum()))
    rows = recorder.flush()
    expected = [row for row in expected if row[0] % every == 0]
    assert rows.steps == [row[0] for row in expected]
    assert list(rows.series) == ["train/loss", "train/rmse", "train/r2"]
    for values, column in zip(rows.series.values(), list(zip(*expected, strict=True))[1:], strict=True):
        np.testing.assert_allclose(values, column, rtol=1e-5)


@pytest.mark.parametrize(("error", "r2"), [(0.0, 1.0), (0.5, 0.0)])
def test_targets_that_are_all_the_same_have_an_r2_of_1_or_0(error, r2):
    recorder, targets = StepRecorder(Regression(), 1, lambda: 0.1), torch.full((1, 2), 3.0)
    recorder.record(1, Regression().loss(targets + error, targets), targets + error, targets)
    assert recorder.flush().series["train/r2"].tolist() == [r2]
    tally = Regression().tally(targets.device)
    tally.add(targets + error, targets)
    assert tally.metrics() == {"loss": error**2, "rmse": error, "r2": r2}


def test_a_regression_that_diverges_is_found():
    recorder, targets = StepRecorder(Regression(), 1, lambda: 0.1), torch.randn(4, 2)
    for step, outputs in enumerate([targets, targets * math.inf, targets], 1):
        recorder.record(step, Regression().loss(outputs, targets), outputs, targets)
    rows = recorder.flush()
    assert (rows.diverged.step, rows.steps) == (2, [1, 2])
    assert rows.series["train/r2"][1] == -math.inf
