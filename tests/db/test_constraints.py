"""The database itself refuses what the code should never write."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from db.base import Base, now
from db.tables import Artifact, Attempt, Checkpoint, Chunk, Event, Job, Log, Outbox
from tests.db.support import claimed_job, contents, job_of, new_job, running_job

SHA = "a" * 64
CHUNK = {
    "kind": "metrics",
    "stream": "train",
    "attempt": 1,
    "number": 0,
    "first_step": 1,
    "last_step": 2,
    "rows": 2,
    "dtype": "<f8",
    "columns": [["train/loss", 1]],
    "header": b"",
    "digest": b"",
    "step_values": b"",
    "payload": b"",
}
CHECKPOINT = {"id": "ckpt_1", "attempt": 1, "step": 5, "state_key": "s", "state_sha256": SHA, "size_bytes": 1}
CHECKPOINT |= {"epoch": 0, "latest": {}, "best": {}, "is_resumable": True}
ARTIFACT = {
    "id": "art_1",
    "checkpoint_id": "ckpt_1",
    "format": "safetensors",
    "filename": "model.safetensors",
    "media_type": "application/octet-stream",
    "step": 5,
    "source": "training",
    "status": "ready",
    "attempt": 0,
    "lost_attempts": 0,
    "store_key": "k",
    "sha256": SHA,
    "size_bytes": 1,
}
NO_FILE = {"store_key": None, "sha256": None, "size_bytes": None}
PENDING = NO_FILE | {"source": "recalibration", "status": "pending", "request": {}}
EVENT = {"seq": 100, "type": "status", "attempt": 1, "data": {}}
#: A valid row of each child table, without its job and its times.
ROWS: dict[type[Base], dict[str, Any]] = {
    Attempt: {"number": 2, "worker": "w", "start_step": 0},
    Chunk: CHUNK,
    Checkpoint: CHECKPOINT,
    Artifact: ARTIFACT,
    Event: EVENT,
    Outbox: {},
    Log: {"attempt": 1, "seq": 1, "stream": "stdout", "text": "line"},
}
TIMES = {
    Attempt: "started_at",
    Checkpoint: "created_at",
    Artifact: "created_at",
    Event: "at",
    Outbox: "created_at",
    Log: "at",
}


def insert(database, table: type[Base], job_id: str, **changes: Any) -> None:
    times = {TIMES[table]: now()} if table in TIMES else {}
    with database.write() as session:
        session.execute(sa.insert(table).values(ROWS[table] | times | {"job_id": job_id} | changes))


def update(database, job_id: str, **values: Any) -> None:
    with database.write() as session:
        session.execute(sa.update(Job).where(Job.id == job_id).values(**values))


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(
            {"status": "failed", "finished_at": now(), "lease_expires": None}, id="failed without a code"
        ),
        pytest.param({"failure_code": "diverged", "failure_message": "x"}, id="a code without a failure"),
        pytest.param(
            {
                "status": "failed",
                "failure_code": "diverged",
                "failure_message": None,
                "finished_at": now(),
                "lease_expires": None,
            },
            id="a failure without a message",
        ),
        pytest.param({"lease_expires": None}, id="live without a lease"),
        pytest.param({"status": "queued"}, id="queued with a lease"),
        pytest.param({"status": "succeeded", "lease_expires": None}, id="final without an end"),
        pytest.param({"finished_at": now()}, id="live with an end"),
        pytest.param({"step": 1001}, id="step beyond steps"),
        pytest.param({"step": -1}, id="negative step"),
        pytest.param({"steps": 0}, id="no steps"),
        pytest.param({"lost_attempts": 2}, id="more lost attempts than attempts"),
        pytest.param({"lost_attempts": -1}, id="negative lost attempts"),
        pytest.param({"spec": sa.null()}, id="no spec"),
        pytest.param({"event_seq": -1}, id="a negative number of events"),
        pytest.param({"spent_seconds": -1.0}, id="negative time"),
    ],
)
def test_a_job_that_contradicts_itself_is_refused(database, values):
    hold = running_job(database)
    before = contents(database)
    with pytest.raises(IntegrityError):
        update(database, hold.job_id, **values)
    assert contents(database) == before


@pytest.mark.parametrize(
    ("column", "value"), [("status", "asleep"), ("status", ""), ("status", "RUNNING"), ("failure_code", "tired")]
)
def test_an_unknown_status_or_failure_code_is_refused(database, column, value):
    hold = running_job(database)
    with pytest.raises(IntegrityError), database.write() as session:
        # As text: the column's own type would refuse it before the database does.
        session.execute(
            sa.text(f"UPDATE jobs SET {column} = :value WHERE id = :id"), {"value": value, "id": hold.job_id}
        )


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        (Chunk, {"kind": "secrets"}),
        (Chunk, {"rows": 0}),
        (Chunk, {"first_step": 3}),
        (Chunk, {"number": -1}),
        (Chunk, {"attempt": 2}),
        (Checkpoint, {"step": -1}),
        (Checkpoint, {"attempt": 2}),
        (Checkpoint, {"size_bytes": -1}),
        (Event, {"seq": 0}),
        (Attempt, {"number": -1}),
        (Attempt, {"number": 1}),
        (Attempt, {"start_step": -1}),
        (Log, {"seq": 0}),
        (Log, {"attempt": 2}),
        (Log, {"stream": "radio"}),
    ],
    ids=str,
)
def test_a_child_row_that_makes_no_sense_is_refused(database, table, changes):
    hold = claimed_job(database)
    with pytest.raises(IntegrityError):
        insert(database, table, hold.job_id, **changes)
    insert(database, table, hold.job_id)


@pytest.mark.parametrize("changes", [{"sha256": "a" * 63}, {"sha256": ""}, {"size_bytes": -1}], ids=str)
def test_an_artifact_without_a_whole_sha256_or_size_is_refused(database, changes):
    hold = claimed_job(database)
    insert(database, Checkpoint, hold.job_id)
    with pytest.raises(IntegrityError):
        insert(database, Artifact, hold.job_id, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(NO_FILE, id="a file of the training that is not there"),
        pytest.param(NO_FILE | {"status": "pending"}, id="a pending file of the training"),
        pytest.param({"request": {}}, id="a file of the training that was asked for"),
        pytest.param({"source": "recalibration"}, id="work that nobody asked for"),
        pytest.param(PENDING | {"status": "ready"}, id="ready without a file"),
        pytest.param(PENDING | {"store_key": "k", "sha256": SHA, "size_bytes": 1}, id="pending with a file"),
        pytest.param(ARTIFACT | {"sha256": None}, id="a file without its sha256"),
        pytest.param(ARTIFACT | {"size_bytes": None}, id="a file without its size"),
        pytest.param(PENDING | {"status": "failed"}, id="failed without a failure"),
        pytest.param(PENDING | {"failure": {}}, id="a failure without failing"),
        pytest.param(PENDING | {"status": "failed", "failure": {}, "lease_expires": now()}, id="ended and held"),
        pytest.param(PENDING | {"status": "failed", "failure": {}, "inputs_key": "i"}, id="ended with inputs"),
        pytest.param(PENDING | {"lost_attempts": 1}, id="more lost attempts than attempts"),
        pytest.param(PENDING | {"source": "magic"}, id="an unknown source"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(database, changes):
    hold = claimed_job(database)
    insert(database, Checkpoint, hold.job_id)
    with pytest.raises((IntegrityError, LookupError)):
        insert(database, Artifact, hold.job_id, **changes)
    insert(database, Artifact, hold.job_id, **PENDING | {"lease_expires": now(), "inputs_key": "i"})


@pytest.mark.parametrize(
    ("table", "same", "other"),
    [
        (Chunk, {}, {"number": 1}),
        (Event, {}, {"seq": 101}),
        (Outbox, {}, None),
        (Checkpoint, {"id": "ckpt_2"}, {"id": "ckpt_2", "step": 6}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_second_row_with_the_same_key_is_refused(database, table, same, other):
    hold = claimed_job(database)
    insert(database, table, hold.job_id)
    with pytest.raises(IntegrityError):
        insert(database, table, hold.job_id, **same)
    if other is not None:
        insert(database, table, hold.job_id, **other)


@pytest.mark.parametrize("same", [{"store_key": "k"}, {"filename": "model.safetensors"}], ids=str)
def test_two_artifacts_share_neither_a_file_nor_a_name(database, same):
    hold = claimed_job(database)
    insert(database, Checkpoint, hold.job_id)
    insert(database, Artifact, hold.job_id)
    other = {"id": "art_2", "store_key": "k2", "filename": "config.json"}
    with pytest.raises(IntegrityError):
        insert(database, Artifact, hold.job_id, **other | same)
    insert(database, Artifact, hold.job_id, **other)


@pytest.mark.parametrize("table", list(ROWS))
def test_a_row_of_a_missing_job_is_refused(database, table):
    hold = claimed_job(database)
    insert(database, Checkpoint, hold.job_id, id="ckpt_1")  # so that the job is all that is missing
    with pytest.raises(IntegrityError):
        insert(database, table, "job_missing", **({"id": "other"} if table is Checkpoint else {}))


def test_deleting_a_job_deletes_what_it_left_and_nothing_else(database):
    for_ever, doomed = claimed_job(database), claimed_job(database)
    waiting = new_job(database)
    for name, hold in (("kept", for_ever), ("gone", doomed)):
        insert(database, Chunk, hold.job_id)
        insert(database, Checkpoint, hold.job_id, id=f"ckpt_{name}")
        insert(
            database,
            Artifact,
            hold.job_id,
            id=f"art_{name}",
            checkpoint_id=f"ckpt_{name}",
            store_key=f"key-{name}",
        )
        insert(database, Outbox, hold.job_id)
        insert(database, Log, hold.job_id)
    assert all(doomed.job_id in repr(rows) for rows in of_jobs(database).values())
    with database.write() as session:
        session.execute(sa.delete(Job).where(Job.id == doomed.job_id))
    left = of_jobs(database)
    assert not any(doomed.job_id in repr(rows) for rows in left.values())
    assert all(for_ever.job_id in repr(rows) for rows in left.values())
    assert job_of(database, waiting).status == "queued"


#: Tables of the service itself, and those of experiments, whose cells outlive their jobs.
OTHERS = ("idempotency_keys", "installation", "workers", "experiments", "experiment_arms", "studies", "cells")


def of_jobs(database) -> dict[str, Any]:
    """The rows of tables that belong to jobs."""
    return {name: rows for name, rows in contents(database).items() if name not in OTHERS}
