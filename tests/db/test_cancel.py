"""What a client's cancel does in each status."""

import pytest
import sqlalchemy as sa

from db import jobs, lease
from db.errors import NotFound, TransitionRefused
from db.status import FailureCode, Status
from db.tables import Job
from tests.db.support import (
    attempts_of,
    claimed_job,
    contents,
    events_of,
    job_of,
    new_job,
    running_job,
)


def cancel(database, job_id: str) -> tuple[Status, bool]:
    with database.write() as session:
        job, is_new = jobs.request_cancel(session, job_id)
        return job.status, is_new


def test_a_queued_job_is_cancelled_at_once_and_never_claimed(database):
    job_id = new_job(database)
    assert cancel(database, job_id) == (Status.CANCELLED, True)
    job = job_of(database, job_id)
    assert (job.reason, job.finished_at is not None, job.lease_expires) == ("cancelled", True, None)
    assert contents(database)["outbox"] == []
    assert events_of(database, job_id)[-1] == (0, "cancelled", "cancel_requested")
    with database.write() as session:
        assert lease.claim(session, "worker", 30.0) is None


@pytest.mark.parametrize("make", [claimed_job, running_job])
def test_a_live_job_is_asked_to_stop_and_ends_when_its_worker_says_so(database, make):
    hold = make(database)
    assert cancel(database, hold.job_id) == (Status.CANCELLING, True)
    assert job_of(database, hold.job_id).finished_at is None
    with database.write() as session:
        assert lease.status(session, hold) is Status.CANCELLING
        lease.record(session, hold, step=3)
        lease.cancelled(session, hold)
    job = job_of(database, hold.job_id)
    assert (job.status, job.reason, job.step) == (Status.CANCELLED, "cancelled", 3)
    assert attempts_of(database, hold.job_id) == [(1, "cancelled")]
    assert [status for _, status, _ in events_of(database, hold.job_id)][-2:] == ["cancelling", "cancelled"]


@pytest.mark.parametrize("make", [new_job, claimed_job, running_job])
def test_a_second_cancel_says_the_same_and_changes_nothing(database, make):
    made = make(database)
    job_id = made if isinstance(made, str) else made.job_id
    status, _ = cancel(database, job_id)
    before = contents(database)
    assert cancel(database, job_id) == (status, False)
    assert contents(database) == before


def test_a_cancel_after_the_cancel_has_been_carried_out_says_so(database):
    hold = running_job(database)
    cancel(database, hold.job_id)
    with database.write() as session:
        lease.cancelled(session, hold)
    assert cancel(database, hold.job_id) == (Status.CANCELLED, False)


FAILURE = lease.Failure(code=FailureCode.DIVERGED, message="m", hint="h")
ENDS = {"succeeded": lease.succeed, "failed": lambda session, hold: lease.fail(session, hold, FAILURE)}


@pytest.mark.parametrize("status", ENDS)
def test_a_job_that_has_ended_otherwise_refuses_and_says_what_is_allowed(database, status):
    hold = running_job(database)
    with database.write() as session:
        ENDS[status](session, hold)
    before = contents(database)
    with pytest.raises(TransitionRefused, match=f"is {status}") as refused:
        cancel(database, hold.job_id)
    assert refused.value.allowed == ["queued", "starting", "running"]
    assert contents(database) == before


@pytest.mark.parametrize("job_id", ["job_none", "", "job_" + "0" * 32, "job_\x00"])
def test_a_job_that_is_not_there_cannot_be_cancelled(database, job_id):
    with pytest.raises(NotFound):
        cancel(database, job_id)


def test_a_cancel_that_crosses_a_release_is_not_refused(database):
    """The job goes back to `queued` after the cancel has looked for a queued one."""
    if database.is_sqlite:
        pytest.skip("on SQLite a release waits until the cancel is committed")
    hold = running_job(database)
    came_in: list[bool] = []

    def release_once(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith("UPDATE jobs") and not came_in:
            came_in.append(True)
            with database.write() as session:
                session.execute(sa.text("SET LOCAL lock_timeout = '200ms'"))
                lease.release(session, hold)

    sa.event.listen(database.engine, "after_cursor_execute", release_once)
    try:
        found = cancel(database, hold.job_id)
    except sa.exc.OperationalError:
        return  # the cancel holds the row already: the release waits for its end, as on SQLite
    finally:
        sa.event.remove(database.engine, "after_cursor_execute", release_once)
    assert found[0] in (Status.CANCELLED, Status.CANCELLING)
    with database.read() as session:
        assert session.scalar(sa.select(Job.status)) in (Status.CANCELLED, Status.CANCELLING)
