"""How far an experiment is."""

import pytest

from db import lease, workers
from db.experiments import commands
from db.experiments.progress import progress
from db.experiments.status import CellStatus, ExperimentStatus, Wanted, status_of
from db.status import WorkerStatus
from tests.db.experiments.support import DIVERGED, launched, post, run_all, run_next
from tests.db.support import claim


def progress_of(database, experiment_id):
    with database.read() as session:
        return progress(session, commands.get(session, experiment_id))


@pytest.mark.parametrize(
    ("wanted", "cells", "expected"),
    [
        (Wanted.RUN, {"waiting": 1, "succeeded": 5}, "running"),
        (Wanted.RUN, {"paused": 1, "succeeded": 5}, "running"),
        (Wanted.RUN, {"failed": 1, "succeeded": 5, "deleted": 1, "cancelled": 2, "refused": 1}, "completed"),
        (Wanted.PAUSE, {"waiting": 3, "running": 1}, "pausing"),
        (Wanted.PAUSE, {"waiting": 3, "paused": 1}, "paused"),
        (Wanted.PAUSE, {"succeeded": 3}, "completed"),
        (Wanted.CANCEL, {"cancelling": 3}, "cancelling"),
        (Wanted.CANCEL, {"paused": 3}, "cancelling"),
        (Wanted.CANCEL, {"waiting": 3, "cancelled": 1}, "cancelled"),
    ],
)
def test_the_status_follows_from_what_is_wanted_and_the_cells(wanted, cells, expected):
    counts = {CellStatus(status): count for status, count in cells.items()}
    assert status_of(wanted, counts, is_searching=False) is ExperimentStatus(expected)


def test_a_search_with_trials_to_come_is_not_completed():
    assert status_of(Wanted.RUN, {}, is_searching=True) is ExperimentStatus.RUNNING


def test_ended_cells_count_whole_and_running_ones_by_their_steps(database):
    made = post(database, max_parallel=3).experiment.id
    launched(database, made)
    run_next(database, step=1000)
    run_next(database, DIVERGED, step=10)
    with database.write() as session:
        lease.record(session, claim_in(session), step=500)
    found = progress_of(database, made)
    assert (found.total, found.ended) == (8, 2)
    assert found.share == pytest.approx((1 + 1 + 0.5) / 8)
    assert found.finished_at is None


def claim_in(session):
    return lease.claim(session, "worker", 30.0)


def test_the_estimate_takes_the_pace_of_ended_cells_and_the_slots(database):
    made = post(database, max_parallel=2).experiment.id
    launched(database, made)
    run_next(database, step=1000, spent_seconds=10.0)
    assert progress_of(database, made).eta_seconds is None, "nobody is there to run them"
    with database.write() as session:
        workers.report(session, "w", slots=4, status=WorkerStatus.READY, device="cpu")
    # Seven cells of 10 s, two at a time.
    assert progress_of(database, made).eta_seconds == pytest.approx(35.0, rel=0.1)


def test_at_its_end_an_experiment_has_no_estimate_and_the_end_of_its_last_job(database):
    made = post(database).experiment.id
    run_all(database, made)
    found = progress_of(database, made)
    assert (found.status, found.share, found.eta_seconds) == (ExperimentStatus.COMPLETED, 1.0, None)
    assert found.finished_at is not None


def test_one_whose_jobs_are_all_reused_ends_after_it_was_made(database):
    run_all(database, post(database).experiment.id)
    made = post(database, name="another", reuse=True).experiment.id
    launched(database, made)
    found = progress_of(database, made)
    assert (found.status, found.reused) == (ExperimentStatus.COMPLETED, 8)
    with database.read() as session:
        assert found.finished_at >= commands.get(session, made).created_at


def test_nothing_of_it_needs_a_claim(database):
    made = post(database).experiment.id
    launched(database, made)
    assert claim(database).attempt == 1
    assert progress_of(database, made).cells == {CellStatus.QUEUED: 7, CellStatus.STARTING: 1}
