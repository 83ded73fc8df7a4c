"""Streams of numbers as chunks in the database: written in batches, read by range or at a coarser resolution."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.cursor import LAST_STEP
from db.frames import (
    DIGEST_ROWS,
    Columns,
    Frame,
    Summary,
    concatenate,
    join,
    merge,
    run_starts,
    summarize,
)
from db.lease import Hold
from db.tables import Attempt, Chunk

METRICS, STATISTICS, PROBES = "metrics", "statistics", "probes"

#: job, kind, stream, attempt, number.
ChunkKey = tuple[str, str, str, int, int]
_KEY_COLUMNS = ("job_id", "kind", "stream", "attempt", "number")
_KEY = sa.tuple_(*(getattr(Chunk, name) for name in _KEY_COLUMNS))

# On the table, not on the class: the ORM's own book-keeping would cost more than the write. Built once:
# building a small statement takes longer than running it, and an answer may need hundreds.
_TABLE = cast(sa.Table, Chunk.__table__)
_INSERT = sa.insert(_TABLE)
_DELETE = sa.delete(_TABLE).where(*(_TABLE.c[name] == sa.bindparam(f"old_{name}") for name in _KEY_COLUMNS))
_SELECT_ROWS = sa.select(_TABLE.c.dtype, _TABLE.c.step_values, _TABLE.c.payload).where(
    *(_TABLE.c[name] == sa.bindparam(name) for name in _KEY_COLUMNS)
)
_SELECT_INFOS = (
    sa.select(*(_TABLE.c[name] for name in ("stream", "number", "first_step", "last_step", "rows", "columns")))
    .where(*(_TABLE.c[name] == sa.bindparam(name) for name in ("job_id", "kind", "attempt")))
    .where(_TABLE.c.last_step > sa.bindparam("low"), _TABLE.c.first_step <= sa.bindparam("high"))
    .order_by(_TABLE.c.stream, _TABLE.c.number)
)


class ChunkWriter:
    """The end of one stream, as the attempt that writes it holds it.

    The chunk that is not yet full is written anew at every flush, so that a long job leaves full chunks only,
    however often it flushes. A write whose transaction fails can be made again: the writer moves on only in
    `committed`.
    """

    def __init__(self, hold: Hold, kind: str, stream: str, rows: int) -> None:
        """`rows` is how many fill a chunk; streams that are read side by side have the same."""
        self._rows = rows
        self._key = {"job_id": hold.job_id, "kind": kind, "stream": stream, "attempt": hold.attempt}
        self._number = 0
        self._open: list[Frame] = []
        self._has_news = False

    def add(self, frame: Frame) -> None:
        """Take rows that follow those before."""
        self._open.append(frame)
        self._has_news = True

    def rows(self) -> list[dict[str, object]]:
        """What has come since the last commit, as rows of the table."""
        if not self._has_news:
            return []
        self._open = [concatenate(self._open)]
        frame = self._open[0]
        return [
            {**self._key, "number": number, **_encode(frame.take(slice(start, start + self._rows)))}
            for number, start in enumerate(range(0, len(frame.steps), self._rows), self._number)
        ]

    def committed(self) -> None:
        """What was written is safe: keep only the chunk that is not full."""
        if self._has_news:
            full, rest = divmod(len(self._open[0].steps), self._rows)
            self._number += full
            self._open = [self._open[0].take(slice(full * self._rows, None))] if rest else []
            self._has_news = False


def write(session: Session, writers: Sequence[ChunkWriter]) -> None:
    """Store what has come to some streams since their last commit, in two statements however many they are."""
    rows = [row for writer in writers for row in writer.rows()]
    if rows:
        session.execute(_DELETE, [{f"old_{name}": row[name] for name in _KEY_COLUMNS} for row in rows])
        session.execute(_INSERT, rows)


def _encode(frame: Frame) -> dict[str, object]:
    rows = len(frame.steps)
    digest = summarize(frame, range(0, rows, DIGEST_ROWS))
    return {
        "first_step": int(frame.steps[0]),
        "last_step": int(frame.steps[-1]),
        "rows": rows,
        "dtype": frame.values.dtype.newbyteorder("<").str,
        "columns": [list(column) for column in frame.columns],
        "header": merge(digest, np.zeros(1, dtype=np.int64)).to_bytes(),
        "digest": digest.to_bytes(),
        "step_values": frame.steps.astype("<i8").tobytes(),
        "payload": frame.values.astype(frame.values.dtype.newbyteorder("<")).tobytes(),
    }


@dataclass(frozen=True, kw_only=True)
class Window:
    """The steps of one attempt that count: above `after`, up to `last`. Later attempts supersede the rest."""

    attempt: int
    after: int
    last: int


def windows(session: Session, job_id: str) -> list[Window]:
    """What counts of each attempt of the job, in order."""
    query = select(Attempt.number, Attempt.start_step).where(Attempt.job_id == job_id).order_by(Attempt.number)
    return windows_of(session.execute(query).all())


def windows_of(attempts: Sequence[tuple[int, int | None]]) -> list[Window]:
    """What counts of each of a job's attempts: their numbers and where they started, in order."""
    result: list[Window] = []
    end = LAST_STEP
    for number, start in reversed(attempts):
        if start is None:  # it has written nothing yet, and takes nothing back
            continue
        result.append(Window(attempt=number, after=start, last=end))
        end = min(end, start)
    return [window for window in reversed(result) if window.after < window.last]


@dataclass(frozen=True, kw_only=True)
class ChunkInfo:
    """A chunk without its numbers, and the rows of it that are wanted."""

    key: ChunkKey
    stream: str
    columns: Columns
    rows: int
    last_step: int
    #: Wanted steps: above `after`, up to `last`; `whole` if that is all of them.
    after: int
    last: int
    whole: bool

    @property
    def width(self) -> int:
        return sum(width for _, width in self.columns)


def find(
    session: Session,
    job_id: str,
    kind: str,
    *,
    from_step: int = 0,
    to_step: int = LAST_STEP,
    after: dict[str, int] | None = None,
) -> dict[str, list[ChunkInfo]]:
    """The chunks of each stream that hold steps of the range, in order; `after` begins later in a stream."""
    found: dict[str, list[ChunkInfo]] = {}
    for window in windows(session, job_id):
        low, high = max(window.after, from_step - 1), min(window.last, to_step)
        wanted = {"job_id": job_id, "kind": kind, "attempt": window.attempt, "low": low, "high": high}
        for stream, number, first_step, last_step, rows, columns in session.execute(_SELECT_INFOS, wanted):
            start = max(low, (after or {}).get(stream, -1))
            if last_step > start:
                found.setdefault(stream, []).append(
                    ChunkInfo(
                        key=(job_id, kind, stream, window.attempt, number),
                        stream=stream,
                        columns=tuple((name, width) for name, width in columns),
                        rows=rows,
                        last_step=min(last_step, high),
                        after=start,
                        last=high,
                        whole=first_step > start and last_step <= high,
                    )
                )
    return found


#: Keys in one query; SQLite takes 32,766 parameters, five to a key.
_KEYS_PER_QUERY = 1000


def read(session: Session, chunks: Sequence[ChunkInfo], limit: int) -> Frame:
    """The wanted rows of one or more chunks of one stream, the first `limit` of them."""
    frames: list[Frame] = []
    for info in chunks:
        frames.append(_wanted(session, info))
        if sum(len(frame.steps) for frame in frames) >= limit:
            break
    return concatenate(frames).take(slice(0, limit))


def read_each(session: Session, chunks: Sequence[ChunkInfo]) -> dict[ChunkKey, Frame]:
    """The wanted rows of each of some chunks, of any streams, in as few queries as may be."""
    columns = (*(getattr(Chunk, name) for name in _KEY_COLUMNS), Chunk.dtype, Chunk.step_values, Chunk.payload)
    infos, found = {info.key: info for info in chunks}, {}
    keys = list(infos)
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        query = select(*columns).where(_KEY.in_(keys[start : start + _KEYS_PER_QUERY]))
        for *key, dtype, steps, payload in session.execute(query):
            info = infos[cast(ChunkKey, tuple(key))]
            found[info.key] = _rows_of(info, dtype, steps, payload)
    return found


def _wanted(session: Session, info: ChunkInfo) -> Frame:
    row = session.execute(_SELECT_ROWS, dict(zip(_KEY_COLUMNS, info.key, strict=True))).one()
    return _rows_of(info, *row)


def _rows_of(info: ChunkInfo, dtype: str, steps: bytes, payload: bytes) -> Frame:
    frame = Frame(
        columns=info.columns,
        steps=np.frombuffer(steps, dtype="<i8").astype(np.int64),
        values=np.frombuffer(payload, dtype=dtype).reshape(-1, info.width),
    )
    return frame.take((frame.steps > info.after) & (frame.steps <= info.last))


def read_summary(session: Session, chunks: Sequence[ChunkInfo], points: int) -> Summary:
    """The chunks of one stream as at most `points` summary rows, from the coarsest resolution with as many.

    A chunk of which only some rows are wanted is read whole: there are at most two for each attempt.
    """
    if len(chunks) >= points:
        stored, run_rows = _stored_summaries(session, chunks, Chunk.header), 2**31
    elif sum(-(-info.rows // DIGEST_ROWS) for info in chunks) >= points:
        stored, run_rows = _stored_summaries(session, chunks, Chunk.digest), DIGEST_ROWS
    else:
        stored, run_rows = {}, 1
    parts = []
    for info in chunks:
        if info.key in stored:
            parts.append(Summary.from_bytes(stored[info.key], info.width))
        else:
            frame = _wanted(session, info)
            parts.append(summarize(frame, range(0, len(frame.steps), run_rows)))
    joined = join(parts)
    return merge(joined, run_starts(len(joined.steps), min(points, len(joined.steps))))


def _stored_summaries(
    session: Session, chunks: Sequence[ChunkInfo], column: InstrumentedAttribute[bytes]
) -> dict[ChunkKey, bytes]:
    keys = [info.key for info in chunks if info.whole]
    parts = (Chunk.job_id, Chunk.kind, Chunk.stream, Chunk.attempt, Chunk.number)
    found: dict[ChunkKey, bytes] = {}
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        query = select(*parts, column).where(_KEY.in_(keys[start : start + _KEYS_PER_QUERY]))
        for row in session.execute(query):
            found[(row[0], row[1], row[2], row[3], row[4])] = row[5]
    return found
