"""The answer to a search."""

import pytest

from api.report import report
from db.experiments.records import Searching
from db.experiments.status import CellStatus
from db.spec.selection import selection_of
from tests.api.report.support import METRIC, diverged_run, make_arm, make_run, make_subject


def reported(*trials, metric=METRIC):
    """Each trial by its runs."""
    arms = [make_arm(n, {"optimizer.lr": 0.1 * (n + 1)}, trial=n) for n in range(len(trials))]
    search = Searching(name="optuna", sampler="TPESampler", trials=5, selection=selection_of(metric))
    return report(make_subject(arms, [run for runs in trials for run in runs], search=search))


def runs_of(arm, *finals, **more):
    return [make_run(arm, seed, final=final, **more) for seed, final in enumerate(finals)]


def test_the_best_is_the_trial_with_the_best_median():
    made = reported(runs_of(0, 0.99, 0.5, 0.5), runs_of(1, 0.8, 0.9, 0.7), runs_of(2, 0.8, 0.8, 0.8))
    found = made.search
    assert (found.name, found.sampler, found.trials, found.tried) == ("optuna", "TPESampler", 5, 3)
    assert (found.metric, found.best_arm, found.best_value) == (METRIC, 1, 0.8)
    assert made.arms[1].selection_median == found.best_value


def test_trials_that_have_not_ended_are_not_tried_yet():
    live = [make_run(1, 0, final=0.99), make_run(1, 1, final=0.99, status=CellStatus.RUNNING)]
    found = reported(runs_of(0, 0.5, 0.6), live).search
    assert (found.tried, found.best_arm) == (1, 0)
    assert reported(live[:0], [make_run(1, 0, status=CellStatus.WAITING, latest={})]).search.best_arm is None


def test_diverged_trials_are_tried_and_never_the_best():
    worst = [diverged_run(0, seed) for seed in range(2)]
    found = reported(worst, runs_of(1, 0.2, 0.1)).search
    assert (found.tried, found.best_arm, found.best_value) == (2, 1, 0.1)
    nothing = reported(worst).search
    assert (nothing.tried, nothing.best_arm, nothing.best_value) == (1, None, None)


def test_the_best_is_by_the_metric_of_the_search():
    losses = [{"test/loss": {"value": value, "step": 1000}} for value in (0.4, 0.3)]
    trials = [[make_run(n, 0, final=0.9 - 0.1 * n, latest=losses[n])] for n in range(2)]
    found = reported(*trials, metric="test/loss").search
    assert (found.metric, found.best_arm, found.best_value) == ("test/loss", 1, 0.3)
    assert reported(*trials).search.best_arm == 0


def test_a_note_says_that_the_best_of_many_looks_too_good():
    assert "looks better than it is, the more so" in " ".join(reported(runs_of(0, 0.9)).notes)


@pytest.mark.parametrize("trials", [0, 1])
def test_without_a_search_there_is_none(trials):
    made = report(make_subject([make_arm(n, {}) for n in range(trials)], []))
    assert made.search is None
    assert "the more so" not in " ".join(made.notes)
