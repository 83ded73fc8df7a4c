"""What is true of a job that nothing has happened to, whatever has happened to it."""

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import checkpoints, chunks
from db.cursor import LAST_STEP
from db.engine import Database
from db.status import TRANSITIONS, Status
from db.store import Store, StoredFile
from db.tables import Attempt, Chunk, Event, Job
from tests.e2e.client import Client

#: Differs from run to run.
SPEED = "samples_per_second"


def recorded(client: Client, job: str) -> dict[str, Any]:
    """All metrics but the speed, page by page, and all statistics."""
    series: dict[str, dict[str, list[Any]]] = {}
    query: dict[str, str] = {}
    while True:
        page = client.get(f"/v1/jobs/{job}/metrics", **query)
        for name, columns in page["series"].items():
            kept = series.setdefault(name, {"step": [], "value": []})
            kept["step"] += columns["step"]
            kept["value"] += columns["value"]
        if not page["more"]:
            break
        query = {"after": page["cursor"]}
    series.pop(SPEED, None)
    statistics = client.get(f"/v1/jobs/{job}/statistics", channels="all")["sites"]
    return {"metrics": series, "statistics": statistics}


def check(client: Client, database: Database, store: Store, job: str) -> None:
    """Fail unless the job succeeded once, with every step once, and with whole checkpoints."""
    shown = client.job(job)
    assert shown["status"] == "succeeded", (job, shown["status"], shown["failure"])
    assert check_timeline(client, job)["succeeded"] == 1
    _check_metrics(client, job, shown)
    _check_chunks(database, job, shown["progress"]["step"])
    _check_checkpoints(database, store, job, shown["progress"]["step"])


def losses(database: Database, job: str, end: str) -> tuple[int, int]:
    """Whether the job is lost and whether it is doubled, by the rows alone: 0 or 1 each.

    Lost is one that has not come to its `end`, or lacks a step; doubled is one that succeeded twice, or has a step
    twice.
    """
    with database.read() as session:
        row = session.get(Job, job)
        if row is None:
            return 1, 0
        lines = session.scalars(select(Event).where(Event.job_id == job, Event.type == "status"))
        succeeded = [line.data["status"] for line in lines].count("succeeded")
        first = session.scalar(
            select(func.min(Attempt.start_step)).where(Attempt.job_id == job, Attempt.number > 0)
        )
        steps = _steps_that_count(session, job)
    lacks = end == "succeeded" and len(set(steps)) < row.step - (first or 0)
    return int(row.status.value != end or lacks), int(succeeded > 1 or len(set(steps)) < len(steps))


def check_timeline(client: Client, job: str) -> Counter[str]:
    """Fail if a line is missing or a move is not of the law; returns how often the job came to each status."""
    lines: list[dict[str, Any]] = []
    while page := client.get(f"/v1/jobs/{job}/events", after=len(lines), limit=100)["data"]:
        lines += page
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1)), job
    statuses = [Status(line["data"]["status"]) for line in lines if line["type"] == "status"]
    assert statuses[0] is Status.QUEUED
    wrong = [(old.value, new.value) for old, new in pairwise(statuses) if new not in TRANSITIONS[old]]
    assert not wrong, (job, wrong)
    return Counter(statuses)


def _check_metrics(client: Client, job: str, shown: dict[str, Any]) -> None:
    """Every step once: of the batches 1 to the last, of the evaluations those that the spec names."""
    last, spec = shown["progress"]["step"], shown["resolved"]
    evaluated = sorted({*range(spec["evaluate"]["every"], last + 1, spec["evaluate"]["every"]), last})
    batches = sorted({*range(spec["record"]["every"], last + 1, spec["record"]["every"]), last})
    series = recorded(client, job)["metrics"]
    for name, columns in series.items():
        steps = columns["step"]
        if name.startswith("train/"):
            assert steps == batches, (job, name)
        elif name.startswith(("test/", "ema/", "gap/")):
            assert steps == evaluated, (job, name, steps)
        assert all(before < after for before, after in pairwise(steps)), (job, name, steps)


def _check_chunks(database: Database, job: str, last: int) -> None:
    """The rows themselves: those that each attempt wrote are in order, and those that count meet without a gap."""
    with database.read() as session:
        starts = dict(
            session.execute(select(Attempt.number, Attempt.start_step).where(Attempt.job_id == job)).all()
        )
        query = select(Chunk.kind, Chunk.stream, Chunk.attempt, Chunk.number, Chunk.rows, Chunk.step_values)
        rows = session.execute(query.where(Chunk.job_id == job).order_by(*query.selected_columns[:4])).all()
        assert _steps_that_count(session, job) == list(range(1, last + 1)), job
    written: dict[tuple[str, str, int], list[int]] = {}
    numbers: dict[tuple[str, str, int], list[int]] = {}
    for kind, stream, attempt, number, count, values in rows:
        steps = np.frombuffer(values, dtype="<i8").tolist()
        assert len(steps) == count
        written.setdefault((kind, stream, attempt), []).extend(steps)
        numbers.setdefault((kind, stream, attempt), []).append(number)
    for key, steps in written.items():
        assert numbers[key] == list(range(len(numbers[key]))), (job, key)
        assert all(before < after for before, after in pairwise(steps)), (job, key)
        start = starts[key[2]]
        assert start is not None, (job, key)
        assert start < steps[0] <= steps[-1] <= last, (job, key, start)


def _steps_that_count(session: Session, job: str) -> list[int]:
    """Of the batches, behind the API."""
    streams = chunks.find(session, job, chunks.METRICS)
    for infos in streams.values():
        if "train/loss" in dict(infos[0].columns):
            return chunks.read(session, infos, LAST_STEP).steps.tolist()
    return []


def _check_checkpoints(database: Database, store: Store, job: str, last: int) -> None:
    """One for an attempt and a step, the last step among them, and their files are what was written."""
    with database.read() as session:
        found = checkpoints.list_for(session, job)
        files: list[StoredFile] = []
        for checkpoint in found:
            trained = checkpoints.trained_files(session, checkpoint.id)
            files += [*(file.stored for file in trained), checkpoints.state_file(checkpoint, trained)]
    places = [(checkpoint.attempt, checkpoint.step) for checkpoint in found]
    assert len(places) == len(set(places)), (job, places)
    assert places[0][1] == last, (job, places)
    for file in files:
        store.verify(file)
