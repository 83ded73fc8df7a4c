"""Jobs to test with, and looks at what the database really holds."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from sqlalchemy.orm import Session

from db import checkpoints, commands, jobs, lease
from db.base import Base, now
from db.checkpoints import ModelFile, Saved
from db.engine import Database
from db.lease import Hold
from db.spec.job import JobSpec
from db.store import StoredFile
from db.tables import Attempt, Event, Job

#: For properties of a database: every example makes a job of its own in the test's database.
properties = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])

LEASE_SECONDS = 30.0


def spec_values(**changes: Any) -> dict[str, Any]:
    """The body of a small job; `changes` replace its parts."""
    return {
        "dataset": {"name": "digits"},
        "architecture": {"name": "mlp", "hidden": [8, 4]},
        "norm": {"name": "batch"},
        "batch_size": 32,
        "steps": 1000,
    } | changes


def make_spec(**changes: Any) -> JobSpec:
    return JobSpec.model_validate(spec_values(**changes))


def new_job(database: Database, **changes: Any) -> str:
    with database.write() as session:
        return jobs.create(session, make_spec(**changes)).id


def claim(database: Database, lease_seconds: float = LEASE_SECONDS) -> Hold:
    with database.write() as session:
        hold = lease.claim(session, "worker", lease_seconds)
    assert hold is not None
    return hold


def claimed_job(database: Database, lease_seconds: float = LEASE_SECONDS) -> Hold:
    """A job whose attempt knows that it begins at the beginning."""
    new_job(database)
    hold = claim(database, lease_seconds)
    with database.write() as session:
        lease.start_from(session, hold, 0, 0)
    return hold


def running_job(database: Database) -> Hold:
    hold = claimed_job(database)
    with database.write() as session:
        lease.begin(session, hold)
    return hold


def stored(key: str, content: bytes = b"content") -> StoredFile:
    """A file that lies nowhere."""
    return StoredFile(key=key, sha256=sha256(content).hexdigest(), size_bytes=len(content))


def state_of(hold: Hold, step: int, score: float | None = None, **changes: Any) -> Saved:
    """A checkpoint with a model and its configuration, as a trainer would commit it; the files lie nowhere."""
    folder = f"jobs/{hold.job_id}/attempt-{hold.attempt}/step-{step}"
    files = [
        ModelFile(format=format, filename=filename, stored=stored(f"{folder}/{filename}", filename.encode()))
        for format, filename in (("safetensors", "model.safetensors"), ("config", "config.json"))
    ]
    shown: dict[str, Any] = {"epoch": 0, "latest": {}, "best": {}, "score": score}
    return Saved(**{"step": step, "state": stored(f"{folder}/state.pt"), "files": files} | shown | changes)


def commit(database: Database, hold: Hold, step: int, score: float | None = None, **changes: Any) -> str:
    with database.write() as session:
        return checkpoints.commit(session, hold, state_of(hold, step, score, **changes))


def paused_job(database: Database) -> Hold:
    """The hold of an attempt that has let go of its job."""
    hold = running_job(database)
    with database.write() as session:
        commands.pause(session, hold.job_id)
        lease.paused(session, hold)
    return hold


def next_attempt(database: Database, hold: Hold, start_step: int = 0) -> Hold:
    """Hand the job back and claim it; the new attempt goes on after `start_step`."""
    with database.write() as session:
        lease.release(session, hold)
    hold = claim(database)
    with database.write() as session:
        lease.start_from(session, hold, start_step, 0)
    return hold


def superseded_job(database: Database) -> tuple[Hold, Hold]:
    """The hold of an attempt that handed its job back, and of the attempt that has it now."""
    stale = running_job(database)
    return stale, next_attempt(database, stale)


def change_job(database: Database, job_id: str, **values: Any) -> None:
    """What no function of the service does, such as making time pass."""
    with database.write() as session:
        session.execute(sa.update(Job).where(Job.id == job_id).values(**values))


def job_of(database: Database, job_id: str) -> Job:
    with database.read() as session:
        return jobs.get(session, job_id)


def attempts_of(database: Database, job_id: str) -> list[tuple[int, str | None]]:
    """Number and outcome of each attempt."""
    with database.read() as session:
        query = sa.select(Attempt.number, Attempt.outcome).where(Attempt.job_id == job_id)
        return [(number, outcome) for number, outcome in session.execute(query.order_by(Attempt.number))]


def events_of(database: Database, job_id: str) -> list[tuple[int, str, Any]]:
    """Attempt, status (or type) and reason of each line of the timeline."""
    with database.read() as session:
        query = sa.select(Event).where(Event.job_id == job_id).order_by(Event.seq)
        return [
            (event.attempt, event.data.get("status", event.type), event.data.get("reason"))
            for event in session.scalars(query)
        ]


def seconds_from_now(database: Database, column: Any, job_id: str) -> float:
    """How far a time of the job lies ahead of the database's clock."""
    with database.read() as session:
        time, clock = session.execute(sa.select(column, now()).where(Job.id == job_id)).one()
        return (time - clock).total_seconds()


def contents(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    with database.read() as session:
        return {
            table.name: sorted((tuple(row) for row in session.execute(sa.select(table))), key=repr)
            for table in Base.metadata.sorted_tables
        }


class CrashError(Exception):
    """Something fails in the middle of a transaction."""


@contextmanager
def crashing(database: Database) -> Iterator[Session]:
    """A write that fails after the block, before its commit."""
    with suppress(CrashError), database.write() as session:
        yield session
        raise CrashError


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The SQL that is sent while the block runs."""
    sent: list[str] = []

    def listen(connection, cursor, statement, parameters, context, executemany):
        sent.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", listen)
    try:
        yield sent
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", listen)
