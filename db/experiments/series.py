"""What the evaluations of many jobs found, in two queries however many jobs there are."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db import chunks
from db.experiments.records import Series
from db.tables import Attempt, Chunk

#: The stream of a job's metrics that its evaluations write.
EVALUATION = "evaluation"


def evaluations(session: Session, jobs: Select[str], names: Sequence[str]) -> dict[str, dict[str, Series]]:
    """Of each job that `jobs` selects, the series of the named metrics, as far as it has them."""
    windows = _windows(session, jobs)
    columns = (Chunk.job_id, Chunk.attempt, Chunk.columns, Chunk.dtype, Chunk.step_values, Chunk.payload)
    query = (
        select(*columns)
        .where(Chunk.kind == chunks.METRICS, Chunk.stream == EVALUATION, Chunk.job_id.in_(jobs))
        .order_by(Chunk.job_id, Chunk.attempt, Chunk.number)
    )
    parts: dict[str, dict[str, list[tuple[Any, Any]]]] = defaultdict(lambda: defaultdict(list))
    for job_id, attempt, layout, dtype, step_values, payload in session.execute(query):
        if (window := windows[job_id].get(attempt)) is None:
            continue
        steps = np.frombuffer(step_values, dtype="<i8")
        counts = (steps > window.after) & (steps <= window.last)
        values = np.frombuffer(payload, dtype=dtype).reshape(len(steps), -1)
        for column, (name, _) in enumerate(layout):
            if name in names:
                parts[job_id][name].append((steps[counts], values[counts, column]))
    return {job_id: {name: _joined(found) for name, found in series.items()} for job_id, series in parts.items()}


def _windows(session: Session, jobs: Select[str]) -> Mapping[str, Mapping[int, chunks.Window]]:
    query = select(Attempt.job_id, Attempt.number, Attempt.start_step).where(Attempt.job_id.in_(jobs))
    attempts: dict[str, list[tuple[int, int | None]]] = defaultdict(list)
    for job_id, number, start in session.execute(query.order_by(Attempt.job_id, Attempt.number)):
        attempts[job_id].append((number, start))
    return {
        job_id: {window.attempt: window for window in chunks.windows_of(found)}
        for job_id, found in attempts.items()
    }


def _joined(parts: Sequence[tuple[Any, Any]]) -> Series:
    steps = np.concatenate([steps for steps, _ in parts])
    return [int(step) for step in steps], np.concatenate([values for _, values in parts]).astype(np.float64)
