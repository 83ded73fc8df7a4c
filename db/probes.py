"""What the probes of a job measured: one stream for each probe, a row for each measurement."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from db import chunks
from db.chunks import ChunkWriter
from db.cursor import LAST_STEP, Cursor, start
from db.frames import Frame, capacity
from db.lease import Hold

#: Rows of one page, and numbers in it.
PAGE_ROWS = 10_000
PAGE_NUMBERS = 1_000_000


class ProbeWriter:
    """The stream of one probe, as the attempt that writes it holds it; `chunks.write` stores it."""

    def __init__(self, hold: Hold, name: str, numbers: int) -> None:
        """`numbers` is how many there are in a row."""
        self.stream = ChunkWriter(hold, chunks.PROBES, name, capacity(8 * numbers))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One measurement; its names are the same each time."""
        self.stream.add(Frame.of([step], {name: np.array([value]) for name, value in values.items()}))


@dataclass(frozen=True, kw_only=True)
class ProbeQuery:
    """What is wanted: a probe, an inclusive range of steps, a cursor."""

    name: str
    from_step: int = 0
    to_step: int = LAST_STEP
    after: str | None = None


@dataclass(kw_only=True)
class ProbePage:
    """Measurements as columns, those of a layer by its name, and where to read on."""

    step: list[int] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    layers: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    cursor: str = ""
    more: bool = False
    rewound_to: int | None = None


def read(session: Session, job_id: str, query: ProbeQuery) -> ProbePage:
    """The measurements of the job that the query asks for.

    Raises:
        InvalidCursor: `query.after` is not a cursor of this service.
    """
    cursor, rewound_to = start(session, job_id, query.after)
    page = ProbePage(rewound_to=rewound_to)
    steps: dict[str, Any] = {"from_step": query.from_step, "to_step": query.to_step, "after": cursor.steps}
    infos = chunks.find(session, job_id, chunks.PROBES, **steps).get(query.name, [])
    reached = dict(cursor.steps)
    if infos:
        limit = min(PAGE_ROWS, max(1, PAGE_NUMBERS // infos[0].width))
        frame = chunks.read(session, infos, limit + 1)
        page.more = len(frame.steps) > limit
        _fill(page, frame.take(slice(0, limit)))
        reached[query.name] = max([reached.get(query.name, -1), *page.step[-1:]])
    page.cursor = Cursor(attempt=cursor.attempt, steps=reached).encode()
    return page


def _fill(page: ProbePage, frame: Frame) -> None:
    page.step = frame.steps.tolist()
    for column, _ in frame.columns:
        layer, _, number = column.rpartition("/")
        place = page.layers.setdefault(layer, {}) if layer else page.values
        place[number] = frame.column(column)[:, 0].tolist()
