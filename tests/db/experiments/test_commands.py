"""What may be asked of an experiment."""

import pytest

from db import commands as job_commands
from db import lease
from db.errors import NotFound, TransitionRefused
from db.experiments import commands, launch
from db.experiments.commands import RETRYABLE_FAILURES
from db.status import FailureCode
from tests.db.experiments.support import (
    DIVERGED,
    LOST,
    asked,
    begun,
    cells_of,
    counts,
    launched,
    post,
    run_all,
    run_next,
    status,
)
from tests.db.support import job_of


@pytest.fixture
def experiment(database):
    """Two jobs have ended, one runs, one is queued."""
    made = post(database, max_parallel=2).experiment.id
    launched(database, made)
    run_next(database)
    run_next(database)
    launched(database, made)
    return made


def test_pausing_takes_queued_jobs_back_and_lets_running_ones_save(database, experiment):
    hold = begun(database)
    assert asked(database, experiment, commands.pause).is_new
    assert status(database, experiment) == "pausing"
    assert counts(database, experiment) == {"succeeded": 2, "pausing": 1, "waiting": 5}
    assert not asked(database, experiment, commands.pause).is_new
    with database.write() as session:
        lease.paused(session, hold)
    assert status(database, experiment) == "paused"
    assert launched(database, experiment) == []


def test_resuming_goes_on_with_the_same_jobs(database, experiment):
    hold = begun(database)
    before = {cell.job_id for cell in cells_of(database, experiment) if cell.job_id}
    asked(database, experiment, commands.pause)
    with database.write() as session:
        lease.paused(session, hold)
    found = asked(database, experiment, commands.resume)
    assert set(found.queued) <= before
    assert len(found.queued) == 2
    assert status(database, experiment) == "running"
    assert not asked(database, experiment, commands.resume).is_new
    run_all(database, experiment)
    assert counts(database, experiment) == {"succeeded": 8}
    assert before <= {cell.job_id for cell in cells_of(database, experiment)}


def test_resuming_before_it_has_saved_goes_on_once_it_has(database, experiment):
    hold = begun(database)
    asked(database, experiment, commands.pause)
    asked(database, experiment, commands.resume)
    with database.write() as session:
        lease.paused(session, hold)
    with database.read() as session:
        assert launch.due(session) == [experiment]
    run_all(database, experiment)
    assert counts(database, experiment) == {"succeeded": 8}


def test_a_job_that_its_owner_brought_back_is_told_as_it_is(database, experiment):
    asked(database, experiment, commands.pause)
    taken_back = next(cell.job_id for cell in cells_of(database, experiment)[2:])
    with database.write() as session:
        job_commands.retry(session, taken_back)
    assert counts(database, experiment) == {"succeeded": 2, "queued": 1, "waiting": 5}
    run_next(database)
    asked(database, experiment, commands.resume)
    run_all(database, experiment)
    assert counts(database, experiment) == {"succeeded": 8}


def test_cancelling_stops_what_has_not_ended(database, experiment):
    hold = begun(database)
    asked(database, experiment, commands.cancel)
    assert status(database, experiment) == "cancelling"
    with database.write() as session:
        lease.cancelled(session, hold)
    assert status(database, experiment) == "cancelled"
    assert counts(database, experiment) == {"succeeded": 2, "cancelled": 2, "waiting": 4}
    assert not asked(database, experiment, commands.cancel).is_new
    with pytest.raises(TransitionRefused, match="An experiment that is cancelled cannot be paused"):
        asked(database, experiment, commands.pause)


def test_a_job_that_was_pausing_is_cancelled_once_it_is_paused(database, experiment):
    hold = begun(database)
    asked(database, experiment, commands.pause)
    asked(database, experiment, commands.cancel)
    assert status(database, experiment) == "cancelling"
    with database.write() as session:
        lease.paused(session, hold)
    with database.read() as session:
        assert launch.due(session) == [experiment]
    with database.write() as session:
        held = launch.hold(session, experiment)
        commands.cancel_jobs(session, held)
    assert job_of(database, hold.job_id).status == "cancelled"
    assert status(database, experiment) == "cancelled"


def test_what_failed_for_a_passing_reason_is_retried_and_a_divergence_is_a_result(database):
    made = post(database, max_parallel=3).experiment.id
    launched(database, made)
    diverged = run_next(database, DIVERGED).job_id
    lost = run_next(database, LOST).job_id
    with database.write() as session:
        cancelled = job_commands.cancel(session, cells_of(database, made)[2].job_id)[0].id
    found = asked(database, made, commands.retry_failed)
    assert set(found.queued) >= {lost, cancelled}
    assert found.retried == 2
    assert job_of(database, diverged).status == "failed"
    run_all(database, made)
    assert counts(database, made) == {"succeeded": 7, "failed": 1}
    assert status(database, made) == "completed"
    again = asked(database, made, commands.retry_failed)
    assert (again.is_new, again.retried) == (False, 0)


def test_retrying_keeps_to_the_number_of_jobs_at_a_time(database):
    made = post(database, max_parallel=2).experiment.id
    while launched(database, made):
        run_next(database, LOST)
        run_next(database, LOST)
    assert counts(database, made) == {"failed": 8}
    found = asked(database, made, commands.retry_failed)
    assert (len(found.queued), found.retried) == (2, 8)
    assert counts(database, made) == {"queued": 2, "waiting": 6}


@pytest.mark.parametrize("pauses", [False, True])
def test_a_cancelled_experiment_comes_back_by_retrying(database, experiment, pauses):
    if pauses:  # then no cell is cancelled, and all of them wait
        asked(database, experiment, commands.pause)
    asked(database, experiment, commands.cancel)
    assert asked(database, experiment, commands.retry_failed).is_new
    run_all(database, experiment)
    assert counts(database, experiment) == {"succeeded": 8}


def test_one_that_has_ended_is_not_stopped(database):
    made = post(database).experiment.id
    run_all(database, made)
    for command in (commands.pause, commands.cancel, commands.resume):
        with pytest.raises(TransitionRefused, match="completed"):
            asked(database, made, command)


def test_there_is_no_such_experiment(database):
    for id in ("exp_" + "0" * 32, "job_" + "0" * 32, "'; DROP TABLE cells"):
        with pytest.raises(NotFound):
            asked(database, id, commands.pause)


def test_only_what_may_end_otherwise_is_worth_a_retry():
    assert FailureCode.DIVERGED not in RETRYABLE_FAILURES
    assert FailureCode.WORKER_LOST in RETRYABLE_FAILURES
