"""Writes of an attempt that no longer holds the job are refused and change nothing."""

from contextlib import suppress

import pytest

from db import checkpoints, jobs, lease
from db.checkpoints import ModelFile
from db.errors import AttemptSuperseded
from db.lease import Failure, Hold
from db.status import FailureCode, Status
from db.store import StoredFile
from tests.db.support import (
    claim,
    claimed_job,
    contents,
    job_of,
    new_job,
    running_job,
    superseded_job,
)

FAILURE = Failure(code=FailureCode.DIVERGED, message="The loss became nan.", hint="Lower the rate.", step=3)


def stored(key: str) -> StoredFile:
    return StoredFile(key=key, sha256="0" * 64, size_bytes=10)


def commit(session, hold: Hold, step: int = 5) -> str:
    folder = f"{hold.job_id}/{hold.attempt}/{step}"
    files = [
        ModelFile(format=format, filename=format, stored=stored(f"{folder}/{format}"))
        for format in ("safetensors", "config")
    ]
    return checkpoints.commit(session, hold, step, stored(f"{folder}/state"), files)


WRITES = {
    "record": lambda session, hold: lease.record(session, hold, step=7, latest={"a": 1}),
    "beat": lambda session, hold: lease.beat(session, hold, 99.0),
    "begin": lease.begin,
    "check": lease.check,
    "succeed": lease.succeed,
    "cancelled": lease.cancelled,
    "fail": lambda session, hold: lease.fail(session, hold, FAILURE),
    "release": lease.release,
    "lose": lambda session, hold: lease.lose(session, hold, 3, "gone"),
    "commit": commit,
    "prune": lambda session, hold: checkpoints.prune(session, hold, 1),
}
writes = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())


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
    with database.write() as session:
        write(session, hold)
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
@pytest.mark.parametrize("end", ["succeed", "cancelled", "fail"])
def test_an_attempt_whose_job_has_ended_cannot_write(database, write, end):
    hold = running_job(database)
    with database.write() as session:
        WRITES[end](session, hold)
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
        jobs.request_cancel(session, hold.job_id)
        assert lease.beat(session, hold, 50.0) is Status.CANCELLING


def test_a_lapsed_lease_that_nobody_took_back_may_still_be_extended(database):
    hold = claimed_job(database, lease_seconds=-1)
    with database.write() as session:
        lease.beat(session, hold, 30.0)
        assert lease.sweep(session, 3) == 0


def test_the_fence_of_one_job_does_not_touch_another(database):
    stale, _ = superseded_job(database)
    new_job(database)
    other = claim(database)
    before = job_of(database, other.job_id).step
    with pytest.raises(AttemptSuperseded), database.write() as session:
        lease.record(session, stale, step=99)
    assert job_of(database, other.job_id).step == before
