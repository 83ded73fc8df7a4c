"""What clients may ask of a job, in each status."""

import threading

import pytest
import sqlalchemy as sa

from db import commands, lease, outbox
from db.base import now
from db.errors import NotFound, TransitionRefused
from db.lease import Hold
from db.status import FailureCode, Status
from db.tables import Job
from tests.db.support import (
    attempts_of,
    change_job,
    claim,
    claimed_job,
    contents,
    events_of,
    job_of,
    new_job,
    paused_job,
    running_job,
    seconds_from_now,
)

FAILURE = lease.Failure(code=FailureCode.DIVERGED, message="m", hint="h", step=3)


def failed_job(database) -> Hold:
    hold = running_job(database)
    with database.write() as session:
        lease.fail(session, hold, FAILURE)
    return hold


def succeeded_job(database) -> Hold:
    hold = running_job(database)
    with database.write() as session:
        lease.succeed(session, hold)
    return hold


def cancelled_job(database) -> Hold:
    hold = running_job(database)
    with database.write() as session:
        commands.cancel(session, hold.job_id)
        lease.cancelled(session, hold)
    return hold


def carry_out(database, command, job_id: str) -> tuple[Status, bool]:
    with database.write() as session:
        job, is_new = command(session, job_id)
        return job.status, is_new


def cancel(database, job_id: str) -> tuple[Status, bool]:
    return carry_out(database, commands.cancel, job_id)


def has_message(database, job_id: str) -> bool:
    with database.read() as session:
        return list(outbox.due(session, 10, also_lost=False)) == [job_id]


def test_a_queued_job_is_cancelled_at_once_and_never_claimed(database):
    job_id = new_job(database)
    assert cancel(database, job_id) == (Status.CANCELLED, True)
    job = job_of(database, job_id)
    assert (job.reason, job.finished_at is not None, job.lease_expires) == ("cancelled", True, None)
    assert contents(database)["outbox"] == []
    assert events_of(database, job_id)[-1] == (0, "cancelled", "cancelled")
    with database.write() as session:
        assert lease.claim(session, "worker", 30.0) is None


def test_a_paused_job_is_cancelled_at_once(database):
    hold = paused_job(database)
    assert cancel(database, hold.job_id) == (Status.CANCELLED, True)
    assert job_of(database, hold.job_id).finished_at is not None


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


@pytest.mark.parametrize("make", [claimed_job, running_job])
def test_a_paused_job_holds_no_lease_and_has_not_ended(database, make):
    hold = make(database)
    assert carry_out(database, commands.pause, hold.job_id) == (Status.PAUSING, True)
    with database.write() as session:
        lease.record(session, hold, step=3)
        lease.paused(session, hold)
    job = job_of(database, hold.job_id)
    assert (job.status, job.step, job.lease_expires, job.finished_at) == (Status.PAUSED, 3, None, None)
    assert attempts_of(database, hold.job_id) == [(1, "paused")]
    with database.write() as session:
        assert lease.claim(session, "worker", 30.0) is None


def test_a_job_that_is_being_paused_cannot_be_cancelled_before_it_is(database):
    hold = running_job(database)
    carry_out(database, commands.pause, hold.job_id)
    with pytest.raises(TransitionRefused, match="is pausing") as refused:
        cancel(database, hold.job_id)
    assert refused.value.allowed == ["queued", "paused", "starting", "running"]


def test_a_resumed_job_is_queued_at_once_with_its_progress_and_its_tries(database):
    hold = paused_job(database)
    change_job(database, hold.job_id, step=7, run_at=now(-50.0))
    assert carry_out(database, commands.resume, hold.job_id) == (Status.QUEUED, True)
    job = job_of(database, hold.job_id)
    assert (job.step, job.reason, job.attempt) == (7, "resumed", 1)
    assert -5 < seconds_from_now(database, Job.run_at, hold.job_id) <= 0
    assert has_message(database, hold.job_id)
    assert claim(database) == Hold(job_id=hold.job_id, attempt=2)


@pytest.mark.parametrize("make", [failed_job, cancelled_job])
def test_a_retried_job_has_all_its_tries_and_all_its_time_and_no_failure(database, make):
    hold = make(database)
    change_job(database, hold.job_id, lost_attempts=1, spent_seconds=50.0, step=7)
    assert carry_out(database, commands.retry, hold.job_id) == (Status.QUEUED, True)
    job = job_of(database, hold.job_id)
    assert (job.lost_attempts, job.spent_seconds, job.step, job.reason) == (0, 0.0, 7, "retried")
    assert (job.failure_code, job.failure_message, job.failure_hint, job.failure_step) == (None, None, None, None)
    assert job.finished_at is None
    assert has_message(database, hold.job_id)
    assert claim(database).attempt == 2


REPEATABLE = [
    (commands.cancel, new_job),
    (commands.cancel, claimed_job),
    (commands.cancel, running_job),
    (commands.cancel, paused_job),
    (commands.pause, claimed_job),
    (commands.pause, running_job),
    (commands.resume, paused_job),
    (commands.retry, failed_job),
    (commands.retry, cancelled_job),
]


@pytest.mark.parametrize(("command", "make"), REPEATABLE)
def test_a_second_command_says_the_same_and_changes_nothing(database, command, make):
    made = make(database)
    job_id = made if isinstance(made, str) else made.job_id
    status, is_new = carry_out(database, command, job_id)
    assert is_new
    before = contents(database)
    assert carry_out(database, command, job_id) == (status, False)
    assert contents(database) == before


@pytest.mark.parametrize(("command", "make"), [(commands.resume, paused_job), (commands.retry, failed_job)])
def test_a_command_that_comes_again_after_the_claim_says_what_came_of_it(database, command, make):
    hold = make(database)
    carry_out(database, command, hold.job_id)
    claim(database)
    assert carry_out(database, command, hold.job_id) == (Status.STARTING, False)


def test_a_cancel_after_the_cancel_has_been_carried_out_says_so(database):
    assert cancel(database, cancelled_job(database).job_id) == (Status.CANCELLED, False)


REFUSED = [
    (commands.cancel, succeeded_job, ["queued", "paused", "starting", "running"]),
    (commands.cancel, failed_job, ["queued", "paused", "starting", "running"]),
    (commands.pause, new_job, ["starting", "running"]),
    (commands.pause, succeeded_job, ["starting", "running"]),
    (commands.resume, new_job, ["paused"]),
    (commands.resume, running_job, ["paused"]),
    (commands.resume, cancelled_job, ["paused"]),
    (commands.retry, new_job, ["failed", "cancelled"]),
    (commands.retry, running_job, ["failed", "cancelled"]),
    (commands.retry, succeeded_job, ["failed", "cancelled"]),
    (commands.delete, new_job, ["succeeded", "failed", "cancelled"]),
    (commands.delete, running_job, ["succeeded", "failed", "cancelled"]),
    (commands.delete, paused_job, ["succeeded", "failed", "cancelled"]),
]


@pytest.mark.parametrize(("command", "make", "allowed"), REFUSED)
def test_what_the_status_does_not_allow_is_refused_with_what_is(database, command, make, allowed):
    made = make(database)
    job_id = made if isinstance(made, str) else made.job_id
    before = contents(database)
    with pytest.raises(TransitionRefused, match=f" {job_of(database, job_id).status} ") as refused:
        carry_out(database, command, job_id)
    assert refused.value.allowed == allowed
    assert contents(database) == before


COMMANDS = [
    commands.cancel,
    commands.pause,
    commands.resume,
    commands.retry,
    commands.delete,
    lambda session, job_id: commands.change(session, job_id, name="n"),
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("job_id", ["job_none", "", "job_" + "0" * 32, "job_\x00"])
def test_nothing_can_be_asked_of_a_job_that_is_not_there(database, command, job_id):
    with pytest.raises(NotFound), database.write() as session:
        command(session, job_id)


@pytest.mark.parametrize("make", [new_job, running_job, paused_job, succeeded_job])
def test_a_change_sets_what_is_given_and_stands_in_the_timeline(database, make):
    made = make(database)
    job_id = made if isinstance(made, str) else made.job_id
    status = job_of(database, job_id).status
    with database.write() as session:
        commands.change(session, job_id, name="new", labels={"a": "b"}, priority=-100)
    job = job_of(database, job_id)
    assert (job.name, job.labels, job.priority, job.status) == ("new", {"a": "b"}, -100, status)
    line = contents(database)["events"][-1]
    assert "changed" in line
    before = contents(database)
    with database.write() as session:
        commands.change(session, job_id, name="new")
    assert contents(database) == before, "the same again is no change"


def test_a_change_of_priority_counts_at_the_next_claim(database):
    first, second = new_job(database), new_job(database)
    with database.write() as session:
        commands.change(session, second, priority=1)
    assert [claim(database).job_id for _ in range(2)] == [second, first]


def test_a_cancel_that_crosses_a_release_is_not_refused(database):
    """The job goes back to `queued` just as the cancel looks at it."""
    if database.is_sqlite:
        pytest.skip("on SQLite a release waits until the cancel is committed")
    hold = running_job(database)
    came_in: list[bool] = []

    def release_once(connection, cursor, statement, parameters, context, executemany):
        if "FROM jobs" in statement and not came_in:
            came_in.append(True)
            with database.write() as session:
                session.execute(sa.text("SET LOCAL lock_timeout = '200ms'"))
                lease.release(session, hold)

    sa.event.listen(database.engine, "after_cursor_execute", release_once)
    try:
        assert cancel(database, hold.job_id) == (Status.CANCELLED, True)
    finally:
        sa.event.remove(database.engine, "after_cursor_execute", release_once)
    assert came_in
    assert job_of(database, hold.job_id).status is Status.CANCELLED


def test_of_two_deletions_at_once_one_finds_nothing_any_more(database):
    hold = running_job(database)
    with database.write() as session:
        lease.succeed(session, hold)
    errors = []

    def delete() -> None:
        try:
            with database.write() as session:
                commands.delete(session, hold.job_id)
        except NotFound as error:
            errors.append(error)

    threads = [threading.Thread(target=delete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 3
