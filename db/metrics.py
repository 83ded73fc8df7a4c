"""Metric series of a job: full resolution in pages, or down-sampled to a number of points."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.orm import Session

from db import chunks
from db.chunks import ChunkInfo
from db.cursor import LAST_STEP, Cursor, start

#: Steps of one page at full resolution.
PAGE_STEPS = 10_000
#: Of one answer with the pages of several jobs.
STEPS_OF_ALL = 100_000


@dataclass(frozen=True, kw_only=True)
class MetricsQuery:
    """What is wanted: names (all if empty), an inclusive range of steps, a cursor, a number of points."""

    names: Sequence[str] = ()
    from_step: int = 0
    to_step: int = LAST_STEP
    after: str | None = None
    max_points: int | None = None
    page_steps: int = PAGE_STEPS

    def wants(self, name: str) -> bool:
        """Whether a series is asked for."""
        return not self.names or name in self.names

    def shared(self, jobs: int) -> "MetricsQuery":
        """The same for one of several jobs, which share the room of an answer."""
        room = min(PAGE_STEPS, STEPS_OF_ALL // jobs)
        points = None if self.max_points is None else min(self.max_points, room)
        return replace(self, page_steps=room, max_points=points)


@dataclass(kw_only=True)
class MetricsPage:
    """Series by name as columns of plain numbers, and where to read on."""

    series: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    cursor: str = ""
    more: bool = False
    downsampled: bool = False
    rewound_to: int | None = None


def read(session: Session, job_id: str, query: MetricsQuery) -> MetricsPage:
    """The series of the job that the query asks for.

    Raises:
        InvalidCursor: `query.after` is not a cursor of this service.
    """
    cursor, rewound_to = start(session, job_id, query.after)
    page = MetricsPage(rewound_to=rewound_to)
    streams = chunks.find(
        session,
        job_id,
        chunks.METRICS,
        from_step=query.from_step,
        to_step=query.to_step,
        after=cursor.steps,
    )
    reached = dict(cursor.steps)
    for stream, infos in streams.items():
        if not any(query.wants(name) for name, _ in infos[0].columns):
            continue
        if query.max_points is not None and sum(info.rows for info in infos) > query.max_points:
            last = _add_summary(session, page, infos, query)
        else:
            last = _add_rows(session, page, infos, query)
        reached[stream] = last if last is not None else reached.get(stream, -1)
    page.cursor = Cursor(attempt=cursor.attempt, steps=reached).encode()
    return page


def _add_rows(session: Session, page: MetricsPage, infos: list[ChunkInfo], query: MetricsQuery) -> int | None:
    frame = chunks.read(session, infos, query.page_steps + 1)
    if not len(frame.steps):
        return None
    if len(frame.steps) > query.page_steps:
        page.more = True
        frame = frame.take(slice(0, query.page_steps))
    steps = frame.steps.tolist()
    for name, _ in frame.columns:
        if query.wants(name):
            page.series[name] = {"step": steps, "value": frame.column(name)[:, 0].tolist()}
    return int(steps[-1])


def _add_summary(session: Session, page: MetricsPage, infos: list[ChunkInfo], query: MetricsQuery) -> int | None:
    summary = chunks.read_summary(session, infos, query.max_points or 1)
    if not len(summary.steps):
        return None
    page.downsampled = True
    for column, (name, _) in enumerate(infos[0].columns):
        if query.wants(name):
            page.series[name] = {
                "step": summary.steps.tolist(),
                "value": summary.mean[:, column].tolist(),
                "min": summary.low[:, column].tolist(),
                "max": summary.high[:, column].tolist(),
                "count": summary.count[:, column].astype(int).tolist(),
            }
    return infos[-1].last_step
