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
from db.cursor import LAST_STEP, Cursor, start
from db.frames import Columns, Floats, Frame, Summary, capacity
from db.lease import Hold

#: The cursor's one position.
POSITION = "sites"
#: Rows of one page, and numbers in it.
PAGE_ROWS = 10_000
PAGE_NUMBERS = 1_000_000

OVER_CHANNELS: dict[str, Callable[..., Floats]] = {"mean": np.mean, "min": np.min, "max": np.max}


class SiteWriter:
    """The streams of one site, as the attempt that writes them holds them; `chunks.write` stores them."""

    def __init__(self, hold: Hold, site: str, row_bytes: int) -> None:
        rows = capacity(row_bytes)
        self.streams = tuple(
            ChunkWriter(hold, chunks.STATISTICS, f"{site}/{view}", rows)
            for view in ("channels", "summary", "percentiles")
        )
        self._channels, self._summary, self._percentiles = self.streams

    def add(self, steps: Sequence[int], moments: Mapping[str, Floats], percentiles: Mapping[str, Floats]) -> None:
        """moments: name to (rows, values) or (rows, time steps, values); percentiles: name to (rows, units)."""
        self._channels.add(Frame.of(steps, moments))
        summary = {
            f"{name}.{view}": over(values, axis=-1)
            for name, values in moments.items()
            for view, over in OVER_CHANNELS.items()
        }
        self._summary.add(Frame.of(steps, summary))
        if percentiles:
            self._percentiles.add(Frame.of(steps, percentiles))


@dataclass(frozen=True, kw_only=True)
class StatisticsQuery:
    """What is wanted. `channels`: none for the summary, an empty tuple for all, or some.

    `time_steps` says of recurrent sites how many time steps a row holds.
    """

    sites: Sequence[str] = ()
    modes: Sequence[str] = ("train", "eval")
    channels: tuple[int, ...] | None = None
    time_steps: Mapping[str, int] = field(default_factory=dict)
    from_step: int = 0
    to_step: int = LAST_STEP
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
    # All sites are recorded at the same steps and written together: one position is that of every stream.
    reached = cursor.steps.get(POSITION, -1)
    streams = chunks.find(
        session,
        job_id,
        chunks.STATISTICS,
        from_step=max(query.from_step, reached + 1),
        to_step=query.to_step,
    )
    wanted = _wanted(streams, query)
    page = StatisticsPage(rewound_to=rewound_to, downsampled=_has_too_many_points(wanted, query))
    for stream, infos in wanted.items():
        frame = _rows(session, page, infos, query, _page_rows(wanted))
        if not len(frame.steps):
            continue
        reached = max(reached, infos[-1].last_step if page.downsampled else int(frame.steps[-1]))
        site, _, view = stream.rpartition("/")
        record = page.sites.setdefault(site, {"step": frame.steps.tolist()})
        if view == "percentiles":
            record["percentiles"] = {name: frame.column(name).tolist() for name, _ in frame.columns}
        else:
            record.update(_moments(frame, query, query.time_steps.get(site)))
    steps = {POSITION: reached} if reached >= 0 else {}
    page.cursor = Cursor(attempt=cursor.attempt, steps=steps).encode()
    return page


def _wanted(streams: dict[str, list[ChunkInfo]], query: StatisticsQuery) -> dict[str, list[ChunkInfo]]:
    views = ("summary" if query.channels is None else "channels", "percentiles")
    parts = {stream: stream.rpartition("/") for stream in streams}
    return {
        stream: streams[stream]
        for stream, (site, _, view) in parts.items()
        if view in views and (not query.sites or site in query.sites)
    }


def _has_too_many_points(streams: dict[str, list[ChunkInfo]], query: StatisticsQuery) -> bool:
    """Decided for the whole page: its one cursor cannot stand inside one site and beyond another."""
    rows = (sum(info.rows for info in infos) for infos in streams.values())
    return query.max_points is not None and max(rows, default=0) > query.max_points


def _page_rows(streams: dict[str, list[ChunkInfo]]) -> int:
    """Rows of a page, the same for every stream, so that all of them end at the same step."""
    width = sum(infos[0].width for infos in streams.values())
    return min(PAGE_ROWS, max(1, PAGE_NUMBERS // max(1, width)))


def _rows(
    session: Session, page: StatisticsPage, infos: list[ChunkInfo], query: StatisticsQuery, limit: int
) -> Frame:
    """The wanted rows of one stream; where there are too many points, the mean of each bucket of rows."""
    if page.downsampled:
        return _buckets(chunks.read_summary(session, infos, query.max_points or 1), infos[0].columns)
    frame = chunks.read(session, infos, limit + 1)
    page.more = page.more or len(frame.steps) > limit
    return frame.take(slice(0, limit))


def _buckets(summary: Summary, columns: Columns) -> Frame:
    """Means of buckets; the least and greatest over channels stay the least and greatest of their bucket."""
    values, offset = summary.mean.copy(), 0
    for name, width in columns:
        part = slice(offset, offset + width)
        if name.endswith(".min"):
            values[:, part] = summary.low[:, part]
        elif name.endswith(".max"):
            values[:, part] = summary.high[:, part]
        offset += width
    return Frame(columns=columns, steps=summary.steps, values=values)


def _moments(frame: Frame, query: StatisticsQuery, time_steps: int | None) -> dict[str, Any]:
    result: dict[str, Any] = dict.fromkeys(query.modes)
    for column, _ in frame.columns:
        mode, moment, *over = column.split(".")
        if mode not in query.modes:
            continue
        values = frame.column(column)
        record = result[mode] = result[mode] or {}
        if over:
            record.setdefault(moment, {})[over[0]] = (values if time_steps else values[:, 0]).tolist()
        else:
            rows = values.reshape(len(values), time_steps, -1) if time_steps else values
            record[moment] = (rows[..., list(query.channels)] if query.channels else rows).tolist()
    return result
