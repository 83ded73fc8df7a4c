"""Work after a job: who makes a pending file, and what becomes of it when its maker is lost."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from db import afterwork, checkpoints, lease, recalibrations
from db.afterwork import WorkHold
from db.base import now
from db.checkpoints import ModelFile
from db.errors import ArtifactFailed, ArtifactPending, WorkSuperseded
from db.lease import Failure
from db.recalibrations import ClientInputs
from db.spec.recalibration import Recalibration
from db.status import ArtifactStatus, FailureCode
from db.store import StoredFile
from db.tables import Artifact
from tests.db.support import contents, running_job, state_of

LEASE_SECONDS = 30.0
ATTEMPTS = 3
STORED = StoredFile(key="made", sha256="b" * 64, size_bytes=7)
FAILURE = Failure(code=FailureCode.DATA_ERROR, message="no data", hint="bring some")


def ended_job(database, *steps: int, files: Sequence[str] = ("model.safetensors",)) -> str:
    """A job of the past with a checkpoint at each of some steps."""
    hold = running_job(database)
    for step in steps:
        state, *stored = (
            StoredFile(key=f"{hold.job_id}/{step}/{name}", sha256="a" * 64, size_bytes=1) for name in ("s", *files)
        )
        models = [
            ModelFile(format="safetensors", filename=name, stored=file)
            for name, file in zip(files, stored, strict=True)
        ]
        with database.write() as session:
            checkpoints.commit(session, hold, state_of(hold, step, state=state, files=models))
    with database.write() as session:
        lease.succeed(session, hold)
    return hold.job_id


def ask(database, job_id: str, inputs: str | None = None, **request) -> str:
    brought = ClientInputs(key=inputs, samples=2) if inputs else None
    with database.write() as session:
        return recalibrations.create(session, job_id, Recalibration.model_validate(request), brought).id


def claim(database, seconds: float = LEASE_SECONDS) -> WorkHold | None:
    with database.write() as session:
        return afterwork.claim(session, seconds)


def artifact_of(database, artifact_id: str) -> Artifact:
    with database.read() as session:
        return checkpoints.artifact(session, artifact_id)


def is_due(database) -> bool:
    with database.read() as session:
        return afterwork.is_due(session)


def lapse(database) -> None:
    with database.write() as session:
        held = sa.update(Artifact).where(Artifact.lease_expires.is_not(None))
        session.execute(held.values(lease_expires=now(-1.0)))


def sweep(database) -> list[str]:
    with database.write() as session:
        return afterwork.sweep(session, ATTEMPTS)


@pytest.fixture
def pending(database) -> str:
    return ask(database, ended_job(database, 5), inputs="inputs/1.npy")


def test_files_of_the_training_are_no_work(database):
    ended_job(database, 5)
    assert not is_due(database)
    assert claim(database) is None


def test_work_is_claimed_once_and_the_oldest_first(database, pending):
    later = ask(database, artifact_of(database, pending).job_id)
    assert is_due(database)
    assert [claim(database), claim(database)] == [
        WorkHold(artifact_id=pending, attempt=1),
        WorkHold(artifact_id=later, attempt=1),
    ]
    assert claim(database) is None
    assert not is_due(database)


def test_requests_and_claims_that_come_at_once_do_not_meet(database):
    job_id = ended_job(database, 5)
    with ThreadPoolExecutor(4) as pool:
        asked = list(pool.map(lambda _: ask(database, job_id), range(8)))
        claimed = list(pool.map(lambda _: claim(database), range(8)))
    assert {artifact_of(database, artifact_id).filename for artifact_id in asked} == {
        f"model-recalibrated-{number}.safetensors" for number in range(1, 9)
    }
    # One that finds the oldest row just taken may go away empty, and comes again a second later.
    held = [hold.artifact_id for hold in claimed if hold is not None]
    assert len(set(held)) == len(held) > 0
    assert set(held) <= set(asked)


def test_a_finished_file_is_there_and_what_it_needed_is_named(database, pending):
    hold = claim(database)
    with database.read() as session, pytest.raises(ArtifactPending, match=pending):
        checkpoints.stored_file(checkpoints.artifact(session, pending))
    with database.write() as session:
        assert afterwork.finish(session, hold, STORED, {"samples": 3}) == ["inputs/1.npy"]
    made = artifact_of(database, pending)
    assert (made.status, made.result, made.inputs_key) == (ArtifactStatus.READY, {"samples": 3}, None)
    assert made.finished_at is not None
    assert checkpoints.stored_file(made) == STORED
    assert not is_due(database)


def test_a_file_that_cannot_be_made_says_why(database, pending):
    hold = claim(database)
    with database.write() as session:
        assert afterwork.fail(session, hold, FAILURE) == ["inputs/1.npy"]
    made = artifact_of(database, pending)
    assert made.failure == {"code": "data_error", "message": "no data", "hint": "bring some"}
    with pytest.raises(ArtifactFailed):
        checkpoints.stored_file(made)
    assert not is_due(database)


def test_work_that_is_handed_back_is_claimed_again_and_not_counted_as_lost(database, pending):
    for attempt in range(1, ATTEMPTS + 3):
        hold = claim(database)
        assert hold.attempt == attempt
        with database.write() as session:
            afterwork.release(session, hold)
    assert artifact_of(database, pending).lost_attempts == 0


def test_lapsed_work_is_taken_back_until_its_tries_are_used_up(database, pending):
    for attempt in range(1, ATTEMPTS + 1):
        assert claim(database).attempt == attempt
        assert sweep(database) == []
        assert not is_due(database)
        lapse(database)
        assert is_due(database)
        assert sweep(database) == (["inputs/1.npy"] if attempt == ATTEMPTS else [])
    made = artifact_of(database, pending)
    assert (made.status, made.failure["code"]) == (ArtifactStatus.FAILED, "worker_lost")
    assert "3 attempts" in made.failure["message"]
    assert claim(database) is None


def test_a_beat_keeps_the_work(database, pending):
    hold = claim(database, seconds=0.0)
    with database.write() as session:
        afterwork.beat(session, hold, LEASE_SECONDS)
    assert sweep(database) == []
    assert artifact_of(database, pending).lost_attempts == 0


WRITES = {
    "beat": lambda session, hold: afterwork.beat(session, hold, LEASE_SECONDS),
    "finish": lambda session, hold: afterwork.finish(session, hold, STORED, {}),
    "fail": lambda session, hold: afterwork.fail(session, hold, FAILURE),
    "release": lambda session, hold: afterwork.release(session, hold),
    "lose": lambda session, hold: afterwork.lose(session, hold, ATTEMPTS, "gone"),
}


@pytest.mark.parametrize("write", list(WRITES))
@pytest.mark.parametrize("state", ["taken back", "held by another", "ended", "pruned"])
def test_a_stale_attempt_writes_nothing(database, pending, write, state):
    stale = claim(database)
    lapse(database)
    sweep(database)
    if state != "taken back":
        hold = claim(database)
    if state == "ended":
        with database.write() as session:
            afterwork.finish(session, hold, STORED, {})
    if state == "pruned":
        with database.write() as session:
            session.execute(sa.delete(Artifact))
    before = contents(database)
    with pytest.raises(WorkSuperseded), database.write() as session:
        WRITES[write](session, stale)
    assert contents(database) == before
