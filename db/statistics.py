"""What normalization did at each site, read back: recorded steps, and what evaluations found.

`db.site_streams` says in which streams it lies, and writes them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from db import chunks
from db.chunks import ChunkInfo
from db.cursor import LAST_STEP, Cursor, start
from db.frames import Columns, Frame, Summary
from db.site_records import add_columns
from db.site_streams import View, site_and_view
from models.shapes import Site

#: The cursor's positions. Evaluations have steps of their own, and are written after the rows of their step.
RECORDED, EVALUATED = "sites", "population"
#: Rows of one page, and numbers in it.
PAGE_ROWS = 10_000
PAGE_NUMBERS = 1_000_000

#: Chunks of each stream that is wanted.
Streams = dict[str, list[ChunkInfo]]


@dataclass(frozen=True, kw_only=True)
class StatisticsQuery:
    """What is wanted. `channels`: none for the summary, an empty tuple for all, or some.

    `known` says of sites how many channels and time steps their rows have; without it a row is one of channels.
    """

    sites: Sequence[str] = ()
    modes: Sequence[str] = ("train", "eval")
    channels: tuple[int, ...] | None = None
    known: Mapping[str, Site] = field(default_factory=dict)
    from_step: int = 0
    to_step: int = LAST_STEP
    after: str | None = None
    max_points: int | None = None

    @property
    def recorded(self) -> tuple[View, ...]:
        """The streams of recorded steps that answer it."""
        return (View.SUMMARY if self.channels is None else View.CHANNELS, View.LAYER, View.PERCENTILES)

    @property
    def evaluated(self) -> tuple[View, ...]:
        """The streams of evaluations that answer it."""
        return (View.POPULATION_SUMMARY if self.channels is None else View.POPULATION,)


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
    page, reached = StatisticsPage(rewound_to=rewound_to), dict(cursor.steps)
    recorded = _find(
        session, job_id, query, query.recorded, after=reached.get(RECORDED, -1), to_step=query.to_step
    )
    last = _read_streams(session, page, recorded, query)
    reached[RECORDED] = max(last, reached.get(RECORDED, -1))
    # A page that ends early holds the evaluations up to its end.
    end = reached[RECORDED] if page.more else query.to_step
    found = _find(session, job_id, query, query.evaluated, after=reached.get(EVALUATED, -1), to_step=end)
    reached[EVALUATED] = max(_read_streams(session, page, found, query), reached.get(EVALUATED, -1))
    steps = {position: step for position, step in reached.items() if step >= 0}
    page.cursor = Cursor(attempt=cursor.attempt, steps=steps).encode()
    return page


def _find(
    session: Session, job_id: str, query: StatisticsQuery, views: Sequence[View], *, after: int, to_step: int
) -> Streams:
    """The wanted streams of some views. Those of all sites reach the same step: they are written together."""
    from_step = max(query.from_step, after + 1)
    streams = chunks.find(session, job_id, chunks.STATISTICS, from_step=from_step, to_step=to_step)
    parts = {stream: site_and_view(stream) for stream in streams}
    return {
        stream: streams[stream]
        for stream, (site, view) in parts.items()
        if view in views and (not query.sites or site in query.sites)
    }


def _read_streams(session: Session, page: StatisticsPage, streams: Streams, query: StatisticsQuery) -> int:
    """Put the rows of a page into the records of their sites; returns the last step read, -1 if there is none."""
    last = -1
    downsampled = _has_too_many_points(streams, query)
    page.downsampled = page.downsampled or downsampled
    for stream, infos in streams.items():
        site, view = site_and_view(stream)
        if downsampled:
            summary = chunks.read_summary(session, infos, query.max_points or 1)
            frames = list(_buckets(summary, infos[0].columns))
        else:
            limit = _page_rows(streams)
            frame = chunks.read(session, infos, limit + 1)
            page.more = page.more or len(frame.steps) > limit
            frames = [frame.take(slice(0, limit))]
        if not len(frames[0].steps):
            continue
        last = max(last, infos[-1].last_step if downsampled else int(frames[0].steps[-1]))
        record = page.sites.setdefault(site, {})
        if view in query.evaluated:
            record = record.setdefault("population", {})
        record["step"] = frames[0].steps.tolist()
        parts = [record]
        if downsampled:
            # Rows with nothing finite stand for nothing.
            record["count"] = summary.count.max(axis=1).astype(int).tolist()
            parts += [record.setdefault("min", {}), record.setdefault("max", {})]
        for part, frame in zip(parts, frames, strict=True):
            add_columns(part, frame, view, query.known.get(site), query.modes, query.channels or ())
    return last


def _has_too_many_points(streams: Streams, query: StatisticsQuery) -> bool:
    """Decided for the whole page: its one position cannot stand inside one site and beyond another."""
    rows = (sum(info.rows for info in infos) for infos in streams.values())
    return query.max_points is not None and max(rows, default=0) > query.max_points


def _page_rows(streams: Streams) -> int:
    """Rows of a page, the same for every stream, so that all of them end at the same step."""
    width = sum(infos[0].width for infos in streams.values())
    return min(PAGE_ROWS, max(1, PAGE_NUMBERS // max(1, width)))


def _buckets(summary: Summary, columns: Columns) -> Iterator[Frame]:
    """The means of buckets of rows, then their least and greatest values.

    Among the means, the least and greatest over channels stay the least and greatest of their bucket.
    """
    values, offset = summary.mean.copy(), 0
    for name, width in columns:
        part = slice(offset, offset + width)
        if name.count(".") == 2 and name.endswith((".min", ".max")):
            values[:, part] = (summary.low if name.endswith(".min") else summary.high)[:, part]
        offset += width
    for table in (values, summary.low, summary.high):
        yield Frame(columns=columns, steps=summary.steps, values=table)
