"""Writes of an attempt that no longer holds the job are refused and change nothing."""

from contextlib import suppress

import pytest

from db import checkpoints, commands, lease, recovery
from db.errors import AttemptSuperseded
from db.lease import Failure, Hold
from db.recovery import Retries
from db.status import FailureCode, Status
from tests.db.support import (
    claim,
    claimed_job,
    contents,
    job_of,
    new_job,
    running_job,
    state_of,
    superseded_job,
)

FAILURE = Failure(code=FailureCode.DIVERGED, message="The loss became nan.", hint="Lower the rate.", step=3)


def commit(session, hold: Hold, step: int = 5) -> str:
    return checkpoints.commit(session, hold, state_of(hold, step))


def mark_damaged(session, hold: Hold) -> None:
    known = checkpoints.list_for(session, hold.job_id)
    checkpoints.mark_damaged(session, hold, known[0].id if known else "ckpt_none", 1, "why")


LOST = recovery.lost("gone")
WRITES = {
    "record": lambda session, hold: lease.record(session, hold, step=7, latest={"a": 1}),
    "beat": lambda session, hold: lease.beat(session, hold, 99.0),
    "begin": lease.begin,
    "check": lease.check,
    "succeed": lease.succeed,
    "cancelled": lease.cancelled,
    "paused": lease.paused,
    "fail": lambda session, hold: lease.fail(session, hold, FAILURE),
    "release": lease.release,
    "start_from": lambda session, hold: lease.start_from(session, hold, 4, 1, latest={"a": 1}),
    "give_up_or_retry": lambda session, hold: recovery.give_up_or_retry(session, hold, LOST, Retries()),
    "commit": commit,
    "prune": lambda session, hold: checkpoints.prune(session, hold, 1, 0),
    "mark_damaged": mark_damaged,
}
writes = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())


#: What a client asks for before a worker writes that it is done.
ASKED = {lease.cancelled: commands.cancel, lease.paused: commands.pause}


def write_as_asked(database, write, hold: Hold) -> None:
    with database.write() as session:
        if write in ASKED:
            ASKED[write](session, hold.job_id)
        write(session, hold)


def refuse(database, write, hold: Hold) -> None:
    before = contents(database)
    with pytest.raises(AttemptSuperseded, match=f"Attempt {hold.attempt} "), database.write() as session:
        write(session, hold)
    assert contents(database) == before


@writes
def test_a_write_of_the_current_attempt_changes_the_database(database, write):
    hold = running_job(database)
    for step in (1, 2):
        with database.write() as session:
            commit(session, hold, step)
    before = contents(database)
    write_as_asked(database, write, hold)
    assert (contents(database) == before) is (write is lease.check)


@writes
def test_a_superseded_attempt_cannot_write(database, write):
    stale, current = superseded_job(database)
    with database.write() as session:
        commit(session, current, 1)
        commit(session, current, 2)
    refuse(database, write, stale)


@writes
def test_an_attempt_whose_job_is_queued_again_cannot_write(database, write):
    hold = running_job(database)
    with database.write() as session:
        lease.release(session, hold)
    refuse(database, write, hold)


@writes
@pytest.mark.parametrize("end", ["succeed", "cancelled", "paused", "fail"])
def test_an_attempt_whose_job_has_ended_cannot_write(database, write, end):
    hold = running_job(database)
    write_as_asked(database, WRITES[end], hold)
    refuse(database, write, hold)


@writes
@pytest.mark.parametrize("hold", [Hold(job_id="job_none", attempt=1), None], ids=["no job", "a later attempt"])
def test_a_hold_that_was_never_given_cannot_write(database, write, hold):
    known = running_job(database)
    refuse(database, write, hold or Hold(job_id=known.job_id, attempt=known.attempt + 1))


@pytest.mark.parametrize("write", [WRITES[n] for n in ("record", "beat", "begin", "commit")])
def test_a_write_beside_which_the_fence_refuses_is_rolled_back_with_it(database, write):
    stale, current = superseded_job(database)
    before = contents(database)
    with suppress(AttemptSuperseded), database.write() as session:
        write(session, current)
        write(session, stale)
    assert contents(database) == before


def test_beat_extends_the_lease_and_tells_of_a_cancel(database):
    hold = claimed_job(database, lease_seconds=5.0)
    before = job_of(database, hold.job_id).lease_expires
    with database.write() as session:
        assert lease.beat(session, hold, 50.0) is Status.STARTING
    assert (job_of(database, hold.job_id).lease_expires - before).total_seconds() == pytest.approx(45, abs=5)
    with database.write() as session:
        commands.cancel(session, hold.job_id)
        assert lease.beat(session, hold, 50.0) is Status.CANCELLING


def test_a_lapsed_lease_that_nobody_took_back_may_still_be_extended(database):
    hold = claimed_job(database, lease_seconds=-1)
    with database.write() as session:
        lease.beat(session, hold, 30.0)
        assert recovery.sweep(session, Retries()) == 0


def test_the_fence_of_one_job_does_not_touch_another(database):
    stale, _ = superseded_job(database)
    new_job(database)
    other = claim(database)
    before = job_of(database, other.job_id).step
    with pytest.raises(AttemptSuperseded), database.write() as session:
        lease.record(session, stale, step=99)
    assert job_of(database, other.job_id).step == before
