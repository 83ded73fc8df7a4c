"""What normalization did at each site: moments in train mode and in eval mode, and percentiles of the output.

Each site has three streams: `channels` (every channel), `summary` (mean, least and greatest over the channels, so
that the usual read is small) and `percentiles` (the units that the job names). They share their chunk boundaries.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from db import chunks
from db.chunks import ChunkInfo, ChunkWriter
from db.cursor import Cursor, start
from db.frames import Floats, Frame, capacity
from db.lease import Hold

#: Rows of one page, and numbers of one site in it.
PAGE_ROWS = 10_000
PAGE_NUMBERS = 1_000_000

OVER_CHANNELS: dict[str, Callable[..., Floats]] = {"mean": np.mean, "min": np.min, "max": np.max}


class SiteWriter:
    """The streams of one site, as the attempt that writes them holds them."""

    def __init__(self, hold: Hold, site: str, row_bytes: int) -> None:
        rows = capacity(row_bytes)
        self._channels, self._summary, self._percentiles = (
            ChunkWriter(hold, chunks.STATISTICS, f"{site}/{view}", rows)
            for view in ("channels", "summary", "percentiles")
        )

    def add(self, steps: Sequence[int], moments: Mapping[str, Floats], percentiles: Mapping[str, Floats]) -> None:
        """moments: name to (rows, channels); percentiles: name to (rows, units)."""
        self._channels.add(Frame.of(steps, moments))
        summary = {
            f"{name}.{view}": over(values, axis=1)
            for name, values in moments.items()
            for view, over in OVER_CHANNELS.items()
        }
        self._summary.add(Frame.of(steps, summary))
        if percentiles:
            self._percentiles.add(Frame.of(steps, percentiles))

    def write(self, session: Session) -> None:
        """Store what has come since the last write."""
        for writer in (self._channels, self._summary, self._percentiles):
            writer.write(session)

    def committed(self) -> None:
        """What was written is safe."""
        for writer in (self._channels, self._summary, self._percentiles):
            writer.committed()


@dataclass(frozen=True, kw_only=True)
class StatisticsQuery:
    """What is wanted. `channels`: none for the summary, an empty tuple for all, or some."""

    sites: Sequence[str] = ()
    modes: Sequence[str] = ("train", "eval")
    channels: tuple[int, ...] | None = None
    from_step: int = 0
    to_step: int = 2**62
    after: str | None = None
    max_points: int | None = None


@dataclass(kw_only=True)
class StatisticsPage:
    """Records by site, and where to read on."""

    sites: dict[str, dict[str, Any]] = field(default_factory=dict)
    cursor: str = ""
    more: bool = False
    downsampled: bool = False
    rewound_to: int | None = None


def read(session: Session, job_id: str, query: StatisticsQuery) -> StatisticsPage:
    """The records of the job that the query asks for.

    Raises:
        InvalidCursor: `query.after` is not a cursor of this service.
    """
    cursor, rewound_to = start(session, job_id, query.after)
    page = StatisticsPage(rewound_to=rewound_to)
    streams = chunks.find(
        session,
        job_id,
        chunks.STATISTICS,
        from_step=query.from_step,
        to_step=query.to_step,
        after=cursor.steps,
    )
    reached = dict(cursor.steps)
    view = "summary" if query.channels is None else "channels"
    for stream, infos in streams.items():
        site, _, kind = stream.rpartition("/")
        if kind not in (view, "percentiles") or (query.sites and site not in query.sites):
            continue
        frame = _rows(session, page, infos, query, streams[f"{site}/{view}"][0].width)
        if frame is None:
            continue
        reached[stream] = int(frame.steps[-1]) if not page.downsampled else infos[-1].last_step
        record = page.sites.setdefault(site, {"step": frame.steps.tolist()})
        if kind == "percentiles":
            record["percentiles"] = {name: frame.column(name).tolist() for name, _ in frame.columns}
        else:
            record.update(_moments(frame, query))
    page.cursor = Cursor(attempt=cursor.attempt, steps=reached).encode()
    return page


def _rows(
    session: Session, page: StatisticsPage, infos: list[ChunkInfo], query: StatisticsQuery, width: int
) -> Frame | None:
    """The wanted rows of one stream; where there are too many points, the mean of each bucket of rows.

    The least and greatest over channels stay the least and greatest of their bucket.
    """
    if query.max_points is not None and sum(info.rows for info in infos) > query.max_points:
        summary = chunks.read_summary(session, infos, query.max_points)
        page.downsampled = True
        values = summary.mean.copy()
        offset = 0
        for name, columns in infos[0].columns:
            part = slice(offset, offset + columns)
            if name.endswith(".min"):
                values[:, part] = summary.low[:, part]
            elif name.endswith(".max"):
                values[:, part] = summary.high[:, part]
            offset += columns
        return Frame(columns=infos[0].columns, steps=summary.steps, values=values) if len(values) else None
    limit = min(PAGE_ROWS, max(1, PAGE_NUMBERS // max(1, width)))
    frame = chunks.read(session, infos, limit + 1)
    if frame is None or not len(frame.steps):
        return None
    if len(frame.steps) > limit:
        page.more = True
        frame = frame.take(slice(0, limit))
    return frame


def _moments(frame: Frame, query: StatisticsQuery) -> dict[str, Any]:
    result: dict[str, Any] = dict.fromkeys(query.modes)
    for column, _ in frame.columns:
        mode, moment, *over = column.split(".")
        if mode not in query.modes:
            continue
        values = frame.column(column)
        record = result[mode] = result[mode] or {}
        if over:
            record.setdefault(moment, {})[over[0]] = values[:, 0].tolist()
        else:
            chosen = values[:, list(query.channels)] if query.channels else values
            record[moment] = chosen.tolist()
    return result
