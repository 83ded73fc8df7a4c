"""A worker that stands still beyond its lease, wakes, and goes on as if it still held its job."""

import os
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from db.engine import Database
from db.folder import TEMPORARY
from db.tables import Artifact, Checkpoint, Chunk, Event
from tests.e2e.client import DIGITS
from tests.faults.harness import STACKS, Stack, WorkerProcess
from tests.faults.runs import Stopwatch
from tests.services import wait_for
from worker import orphans

pytestmark = pytest.mark.faults

#: Long enough to be frozen in, with much to be written late.
SPEC = {**DIGITS, "steps": 1200, "checkpoint": {"every": 60}, "statistics": {"every": 50}}
#: Freezes: in the middle of writing a checkpoint and at any moment, one after the other.
SHORT, LONG = 1, 10
SHORT_STACKS = STACKS[1:]
#: Long enough for a transaction of the service, short enough not to wait for a frozen one.
LOCK_SECONDS = 2.0


def folder_of(stack: Stack, job: str) -> Path:
    return stack.home / "store" / "jobs" / job / "attempt-1"


def files_of(stack: Stack, job: str) -> set[Path]:
    return set(folder_of(stack, job).glob("*/*"))


def is_free(database: Database, job: str) -> bool:
    """Whether nobody who sleeps holds a lock: on SQLite all would wait for it, on Postgres only this job."""
    try:
        if database.is_sqlite:
            with closing(sqlite3.connect(database.url.database, timeout=LOCK_SECONDS)) as connection:
                connection.execute("BEGIN IMMEDIATE")
        else:
            with database.write() as session:
                session.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS:.0f}s'"))
                session.execute(text("SELECT 1 FROM jobs WHERE id = :job FOR UPDATE"), {"job": job})
    except (sqlite3.OperationalError, OperationalError):
        return False
    return True


def freeze(
    stack: Stack,
    worker: WorkerProcess,
    job: str,
    *,
    in_a_checkpoint: bool,
    with_locks: bool,
    chance: random.Random,
) -> int:
    """Freeze the worker while it trains `job`; returns how often it had to be woken as it held a lock.

    `with_locks` lets it sleep with them: Postgres takes them back after half a minute. SQLite has no server that
    could, and a process that sleeps in a transaction stops its whole installation.
    """
    client = stack.client()
    wait_for(lambda: client.job(job)["progress"]["step"] > 0)
    for woken in range(100):
        if in_a_checkpoint:
            wait_for(lambda: has_unfinished(stack, job), timeout=30, every=0.0002)
        else:
            time.sleep(chance.uniform(0, 0.8))
        worker.freeze()
        if with_locks or is_free(stack.database(), job):
            return woken
        worker.wake()
    raise AssertionError("it always held a lock")


def has_unfinished(stack: Stack, job: str) -> bool:
    return any(path.name.startswith(TEMPORARY) for path in files_of(stack, job))


def written(database: Database, job: str) -> dict[str, set[object]]:
    """The rows of the first attempt, whole."""
    of_first = {
        "chunks": select(Chunk.kind, Chunk.stream, Chunk.number, Chunk.payload),
        "events": select(Event.seq, Event.type),
        "checkpoints": select(Checkpoint.step, Checkpoint.state_key),
    }
    tables = {"chunks": Chunk, "events": Event, "checkpoints": Checkpoint}
    with database.read() as session:
        return {
            name: {
                tuple(row)
                for row in session.execute(query.where(tables[name].job_id == job, tables[name].attempt == 1))
            }
            for name, query in of_first.items()
        }


def sweep_late_files(stack: Stack, job: str, before: set[Path]) -> int:
    """Of files that the woken worker left: no row names them, and the hourly sweep takes them."""
    late = files_of(stack, job) - before
    with stack.database().read() as session:
        named = {*session.scalars(select(Artifact.store_key)), *session.scalars(select(Checkpoint.state_key))}
    store = stack.home / "store"
    assert not {str(path.relative_to(store)) for path in late} & named
    for path in late | {path for path in before if path.exists() and path.name.startswith(TEMPORARY)}:
        os.utime(path, (0, 0))
    orphans.sweep(stack.database(), stack.store)
    assert not any(path.exists() for path in late)
    return len(late)


def test_a_worker_that_wakes_after_another_took_its_job_changes_nothing(stack, long, seed, figures):
    chance, client, freezes = random.Random(seed), stack.client(), LONG if long else SHORT
    woken, late, moments = 0, 0, [0.0]
    (holder,) = stack.running_workers()
    with figures.counting("worker frozen beyond its lease", stack) as tally:
        for number in range(freezes):
            job = client.submit(SPEC)
            tally.tried += 1
            tally.ends[job] = "succeeded"
            if number:
                wait_for(lambda job=job: client.job(job)["progress"]["step"] > 0)
                holder = stack.holder_of(job)
            else:
                stack.start_worker(wait=False)
            moment = {"in_a_checkpoint": not number % 2, "with_locks": long and stack.postgres is not None}
            woken += freeze(stack, holder, job, chance=chance, **moment)
            frozen = Stopwatch()
            wait_for(lambda job=job: client.job(job)["attempt"] == 2, timeout=120, every=0.05)
            moments.append(frozen.seconds)
            # The one that is woken goes on with the next job, and is not the worse for it.
            late += wake(stack, holder, job)
            tally.survived += 1
            tally.note = (
                f"taken over after at most {max(moments):.1f} s; woken again {woken} times as it held a lock; "
                f"{late} late files left to the sweep"
            )


def wake(stack: Stack, holder: WorkerProcess, job: str) -> int:
    """Let the first holder of the job go on; returns how many files it still wrote, which nothing names."""
    before, files = written(stack.database(), job), files_of(stack, job)
    holder.wake()
    wait_for(lambda: not holder.trainers(), timeout=20, every=0.05)
    late = sweep_late_files(stack, job, files)
    assert stack.client().wait(job)["attempt"] == 2
    after = written(stack.database(), job)
    assert after["chunks"] == before["chunks"]
    assert after["events"] == before["events"]
    assert after["checkpoints"] <= before["checkpoints"]
    stack.check_whole(job)
    return late
