"""How an attempt ends, and what becomes of its job."""

import pytest
import sqlalchemy as sa

from db import commands, lease, recovery
from db.base import now
from db.lease import Failure, Hold
from db.recovery import LONGEST_BACKOFF, Retries
from db.status import REPEATS, FailureCode, Status
from db.tables import Attempt, Job
from tests.db.support import (
    attempts_of,
    change_job,
    claim,
    claimed_job,
    commit,
    contents,
    events_of,
    job_of,
    new_job,
    running_job,
    seconds_from_now,
)


def lose(session, hold: Hold, max_attempts: int = 3, why: str = "gone") -> None:
    recovery.give_up_or_retry(session, hold, recovery.lost(why), Retries(max_attempts=max_attempts))


def end(database, hold: Hold, how, *arguments) -> Job:
    with database.write() as session:
        how(session, hold, *arguments)
    return job_of(database, hold.job_id)


def request(database, command, job_id: str) -> None:
    with database.write() as session:
        command(session, job_id)


def request_cancel(database, job_id: str) -> None:
    request(database, commands.cancel, job_id)


def is_queued_with_a_message(database, job: Job) -> bool:
    messages = [row[0] for row in contents(database)["outbox"]]
    return (job.status, job.lease_expires, messages) == (Status.QUEUED, None, [job.id])


def test_the_first_step_makes_a_starting_job_running_once(database):
    hold = claimed_job(database)
    job = end(database, hold, lease.begin)
    assert job.status is Status.RUNNING
    assert job.started_at <= job.first_step_at
    end(database, hold, lease.begin)
    assert [status for _, status, _ in events_of(database, hold.job_id)] == ["queued", "starting", "running"]


def test_the_first_step_of_a_job_that_is_being_cancelled_leaves_it_so(database):
    hold = claimed_job(database)
    request_cancel(database, hold.job_id)
    job = end(database, hold, lease.begin)
    assert job.status is Status.CANCELLING
    assert job.first_step_at is not None


def test_success_ends_job_attempt_and_lease(database):
    hold = running_job(database)
    job = end(database, hold, lease.succeed)
    assert (job.status, job.reason, job.lease_expires, job.failure_code) == (
        Status.SUCCEEDED,
        "completed",
        None,
        None,
    )
    assert job.finished_at >= job.first_step_at
    assert attempts_of(database, hold.job_id) == [(1, "completed")]
    assert events_of(database, hold.job_id)[-1] == (1, "succeeded", "completed")


def test_success_holds_where_a_cancel_came_too_late(database):
    hold = running_job(database)
    request_cancel(database, hold.job_id)
    assert end(database, hold, lease.succeed).status is Status.SUCCEEDED


@pytest.mark.parametrize("code", list(FailureCode))
def test_failure_keeps_its_code_message_hint_and_step(database, code):
    hold = running_job(database)
    job = end(database, hold, lease.fail, Failure(code=code, message="why", hint="what to do", step=12))
    assert (job.status, job.failure_code, job.failure_message) == (Status.FAILED, code, "why")
    assert (job.failure_hint, job.failure_step, job.reason) == ("what to do", 12, code.value)
    assert attempts_of(database, hold.job_id) == [(1, code.value)]


def test_a_released_job_is_queued_at_once_and_not_counted_as_lost(database):
    hold = running_job(database)
    job = end(database, hold, lease.release)
    assert is_queued_with_a_message(database, job)
    assert (job.reason, job.lost_attempts) == ("released", 0)
    assert seconds_from_now(database, Job.run_at, hold.job_id) <= 0
    assert claim(database) == Hold(job_id=hold.job_id, attempt=2)


def test_a_job_that_is_released_while_cancelling_is_cancelled(database):
    hold = running_job(database)
    request_cancel(database, hold.job_id)
    job = end(database, hold, lease.release)
    assert (job.status, job.reason) == (Status.CANCELLED, "cancelled")
    assert contents(database)["outbox"] == []
    assert attempts_of(database, hold.job_id) == [(1, "cancelled")]


def test_a_cancel_that_comes_during_a_release_is_not_lost(database):
    if database.is_sqlite:
        pytest.skip("on SQLite a cancel waits until the release is committed")
    hold = running_job(database)
    came_in: list[bool] = []

    def cancel_once(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith("UPDATE jobs") and not came_in:
            came_in.append(True)
            with database.write() as session:
                session.execute(sa.text("SET LOCAL lock_timeout = '200ms'"))
                commands.cancel(session, hold.job_id)

    sa.event.listen(database.engine, "after_cursor_execute", cancel_once)
    try:
        end(database, hold, lease.release)
    except sa.exc.OperationalError:
        return  # the release holds the row already: the cancel waits for its end, as on SQLite
    finally:
        sa.event.remove(database.engine, "after_cursor_execute", cancel_once)
    assert job_of(database, hold.job_id).status is Status.CANCELLED


def test_a_lost_attempt_is_queued_again_later_and_later(database):
    job_id = new_job(database)
    for lost in range(1, 9):
        change_job(database, job_id, run_at=now())
        job = end(database, claim(database), lose, 100, "gone")
        assert is_queued_with_a_message(database, job)
        assert (job.reason, job.lost_attempts) == ("worker_lost", lost)
        backoff = min(LONGEST_BACKOFF, Retries().backoff_seconds * 2 ** (lost - 1))
        assert seconds_from_now(database, Job.run_at, job_id) == pytest.approx(backoff, abs=5)
    assert backoff == LONGEST_BACKOFF


def test_the_last_allowed_loss_fails_the_job_with_worker_lost(database):
    job_id = new_job(database)
    for _ in range(3):
        change_job(database, job_id, run_at=now())
        job = end(database, claim(database), lose, 3, "exit code -9")
    assert (job.status, job.failure_code, job.lost_attempts) == (Status.FAILED, FailureCode.WORKER_LOST, 3)
    assert "exit code -9" in job.failure_message
    assert attempts_of(database, job_id) == [(n, "worker_lost") for n in (1, 2, 3)]


def test_a_lost_attempt_of_a_job_that_is_being_cancelled_cancels_it(database):
    hold = running_job(database)
    request_cancel(database, hold.job_id)
    assert end(database, hold, lose, 1, "gone").status is Status.CANCELLED


def sweep(database, max_attempts: int = 3) -> int:
    with database.write() as session:
        return recovery.sweep(session, Retries(max_attempts=max_attempts))


def test_sweep_takes_back_only_jobs_whose_lease_has_lapsed(database):
    lapsed, alive, queued = claimed_job(database, lease_seconds=-1), running_job(database), new_job(database)
    before = job_of(database, alive.job_id).lease_expires
    assert sweep(database) == 1
    job = job_of(database, lapsed.job_id)
    assert (job.status, job.reason, job.lost_attempts) == (Status.QUEUED, "worker_lost", 1)
    assert seconds_from_now(database, Job.run_at, lapsed.job_id) == pytest.approx(Retries().backoff_seconds, abs=5)
    assert job_of(database, alive.job_id).lease_expires == before
    assert job_of(database, queued).attempt == 0
    assert sweep(database) == 0


def test_the_third_lapsed_lease_fails_the_job_with_worker_lost(database):
    job_id = new_job(database)
    seen = []
    for _ in range(3):
        change_job(database, job_id, run_at=now())
        claim(database, lease_seconds=-1)
        assert sweep(database) == 1
        seen.append(job_of(database, job_id).status)
    assert seen == [Status.QUEUED, Status.QUEUED, Status.FAILED]
    job = job_of(database, job_id)
    assert (job.failure_code, job.lost_attempts, job.lease_expires) == (FailureCode.WORKER_LOST, 3, None)


def test_a_lapsed_lease_of_a_job_that_is_being_cancelled_cancels_it(database):
    hold = claimed_job(database, lease_seconds=-1)
    request_cancel(database, hold.job_id)
    assert sweep(database) == 1
    job = job_of(database, hold.job_id)
    assert (job.status, job.failure_code) == (Status.CANCELLED, None)
    assert contents(database)["outbox"] == []


def test_releases_between_losses_do_not_use_up_tries(database):
    job_id = new_job(database)
    for how, arguments in [(lose, (2, "gone")), (lease.release, ()), (lease.release, ())]:
        change_job(database, job_id, run_at=now())
        job = end(database, claim(database), how, *arguments)
        assert job.status is Status.QUEUED
    assert job.lost_attempts == 1


def test_every_ended_attempt_has_an_end_and_an_outcome(database):
    for command, how in [(None, lease.succeed), (commands.cancel, lease.cancelled), (None, lease.release)]:
        hold = running_job(database)
        if command:
            request(database, command, hold.job_id)
        end(database, hold, how)
    with database.read() as session:
        found = session.scalars(sa.select(Attempt)).all()
    assert sorted(attempt.outcome for attempt in found) == ["cancelled", "completed", "released"]
    assert all(attempt.finished_at >= attempt.started_at for attempt in found)


@pytest.mark.parametrize("how", [lease.release, lose], ids=["release", "lose"])
def test_a_job_whose_worker_lets_go_while_it_is_being_paused_is_paused(database, how):
    hold = running_job(database)
    request(database, commands.pause, hold.job_id)
    job = end(database, hold, how)
    assert (job.status, job.finished_at, job.lease_expires) == (Status.PAUSED, None, None)
    assert contents(database)["outbox"] == []


@pytest.mark.parametrize("code", list(FailureCode))
def test_only_a_failure_that_may_not_repeat_is_tried_again(database, code):
    hold = running_job(database)
    failure = Failure(code=code, message="why", hint="what to do", step=3)
    with database.write() as session:
        recovery.give_up_or_retry(session, hold, failure, Retries(max_attempts=2, backoff_seconds=5.0))
    job = job_of(database, hold.job_id)
    assert job.status is (Status.FAILED if code in REPEATS else Status.QUEUED)
    assert (job.reason, job.lost_attempts) == (code.value, 0 if code in REPEATS else 1)


def test_a_failure_of_the_last_try_says_how_many_there_were_and_what_the_last_one_was(database):
    job_id = new_job(database)
    failure = Failure(code=FailureCode.STORAGE_FULL, message="No room.", hint="Make some.", step=3)
    for _ in range(2):
        change_job(database, job_id, run_at=now())
        hold = claim(database)
        with database.write() as session:
            recovery.give_up_or_retry(session, hold, failure, Retries(max_attempts=2))
    job = job_of(database, job_id)
    assert (job.status, job.failure_code, job.failure_step) == (Status.FAILED, FailureCode.STORAGE_FULL, 3)
    assert job.failure_message.startswith("2 attempts failed")
    assert job.failure_message.endswith("No room.")


def test_tries_and_backoff_begin_anew_with_a_new_checkpoint(database):
    job_id = new_job(database)
    for step in (None, 5, None):
        change_job(database, job_id, run_at=now())
        hold = claim(database)
        if step:
            commit(database, hold, step)
        job = end(database, hold, lose, 3)
        assert job.status is Status.QUEUED
    assert job.lost_attempts == 2
    assert seconds_from_now(database, Job.run_at, job_id) == pytest.approx(20, abs=5)


def test_the_time_of_all_attempts_counts_towards_the_limit(database):
    hold = running_job(database)
    backdate(database, hold, 100.0)
    job = end(database, hold, lease.release)
    assert job.spent_seconds == pytest.approx(100, abs=5)
    hold = claim(database)
    with database.read() as session:
        left = lease.runtime_left(session, hold)
    assert left == pytest.approx(job.resolved["max_runtime_seconds"] - 100, abs=5)


def backdate(database, hold: Hold, seconds: float) -> None:
    key = (Attempt.job_id == hold.job_id, Attempt.number == hold.attempt)
    with database.write() as session:
        session.execute(sa.update(Attempt).where(*key).values(started_at=now(-seconds)))
