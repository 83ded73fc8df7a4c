"""What the processes of a job's attempts wrote, line by line."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.base import now
from db.cursor import Cursor
from db.errors import InvalidCursor
from db.lease import Hold
from db.status import LogStream
from db.tables import Attempt, Log

#: What the columns of numbers hold.
LARGEST = 2**31 - 1

# On the table, not on the class: the ORM's own book-keeping would double the time of a write.
_INSERT = sa.insert(cast(sa.Table, Log.__table__))


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """A line of one attempt, numbered from 1. Its text has no NUL, which Postgres refuses."""

    seq: int
    stream: LogStream
    text: str
    #: When it came, by this process's `time.monotonic()`.
    heard: float


@dataclass(frozen=True, kw_only=True)
class LogQuery:
    """Which lines are wanted: of one attempt and one stream or of all, beyond a cursor."""

    attempt: int | None = None
    stream: LogStream | None = None
    after: str | None = None
    limit: int = 200


@dataclass(frozen=True, kw_only=True)
class LogPage:
    """Lines by attempt and number, where to read on, and whether there are more already."""

    lines: Sequence[Log]
    cursor: str
    more: bool


def write(session: Session, hold: Hold, lines: Sequence[LogLine]) -> bool:
    """Store lines of an attempt, which need not hold the job any more; false if its job has been deleted.

    Lines that are there are left out: a write whose commit may have got lost can be made again.
    """
    attempt = select(Attempt.number).where(Attempt.job_id == hold.job_id, Attempt.number == hold.attempt)
    # Held on Postgres until the commit, so that the job is not deleted in between.
    if session.scalar(attempt.with_for_update(key_share=True, read=True)) is None:
        return False
    stored = select(func.max(Log.seq)).where(Log.job_id == hold.job_id, Log.attempt == hold.attempt)
    last = session.scalar(stored) or 0
    clock, heard = session.execute(select(now())).scalar_one(), time.monotonic()
    rows = [
        {
            "job_id": hold.job_id,
            "attempt": hold.attempt,
            "seq": line.seq,
            "stream": line.stream,
            # The database's clock, as all times are, however long the line had to wait.
            "at": clock - timedelta(seconds=heard - line.heard),
            "text": line.text,
        }
        for line in lines
        if line.seq > last
    ]
    if rows:
        session.execute(_INSERT, rows)
    return True


def read(session: Session, job_id: str, query: LogQuery) -> LogPage:
    """The lines of the job that the query asks for, in the order of attempts and then of writing.

    The cursor knows the last line of each attempt: one that has lost its job may still write beside the next.

    Raises:
        InvalidCursor: `query.after` is not a cursor of this service.
    """
    read_to = _read_to(query.after)
    wanted = [Log.job_id == job_id]
    if query.attempt is not None:
        wanted.append(Log.attempt == query.attempt)
    if query.stream is not None:
        wanted.append(Log.stream == query.stream)
    if read_to:
        wanted.append(Log.seq > sa.case(read_to, value=Log.attempt, else_=0))
    found = session.scalars(select(Log).where(*wanted).order_by(Log.attempt, Log.seq).limit(query.limit + 1)).all()
    lines = found[: query.limit]
    reached = read_to | {line.attempt: line.seq for line in lines}
    cursor = Cursor(attempt=0, steps={str(attempt): seq for attempt, seq in reached.items()})
    return LogPage(lines=lines, cursor=cursor.encode(), more=len(found) > len(lines))


def _read_to(after: str | None) -> dict[int, int]:
    """The number of the last line read of each attempt."""
    if after is None:
        return {}
    try:
        read_to = {int(attempt): seq for attempt, seq in Cursor.decode(after).steps.items()}
    except ValueError as error:
        raise InvalidCursor("after") from error
    if not all(0 <= number <= LARGEST for pair in read_to.items() for number in pair):
        raise InvalidCursor("after")
    return read_to
