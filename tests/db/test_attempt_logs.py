"""Lines of attempts: stored once, read in order to the end, and then on from there."""

import time

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from db import attempt_logs, lease
from db.attempt_logs import LogLine, LogQuery
from db.cursor import Cursor
from db.errors import InvalidCursor
from db.lease import Hold
from db.status import LogStream
from db.tables import Job, Log
from tests.db.support import claim, claimed_job, properties, running_job, seconds_from_now, superseded_job


def lines(*texts: str, first: int = 1, stream: LogStream = LogStream.STDOUT) -> list[LogLine]:
    heard = time.monotonic()
    return [LogLine(seq=seq, stream=stream, text=text, heard=heard) for seq, text in enumerate(texts, first)]


def write(database, hold: Hold, written: list[LogLine]) -> bool:
    with database.write() as session:
        return attempt_logs.write(session, hold, written)


def read(database, job_id: str, **query) -> tuple[list[tuple[int, str]], str, bool]:
    with database.read() as session:
        page = attempt_logs.read(session, job_id, LogQuery(**query))
        return [(line.attempt, line.text) for line in page.lines], page.cursor, page.more


def texts(database, job_id: str, **query) -> list[tuple[int, str]]:
    return read(database, job_id, **query)[0]


def test_a_write_that_is_made_again_doubles_nothing(database):
    hold = claimed_job(database)
    assert write(database, hold, lines("one", "two"))
    assert write(database, hold, lines("one", "two", "three"))
    assert texts(database, hold.job_id) == [(1, "one"), (1, "two"), (1, "three")]


def test_an_attempt_that_lost_its_job_writes_its_own_lines(database):
    stale, hold = superseded_job(database)
    write(database, hold, lines("of the second"))
    write(database, stale, lines("of the first"))
    assert texts(database, hold.job_id) == [(1, "of the first"), (2, "of the second")]
    assert texts(database, hold.job_id, attempt=2) == [(2, "of the second")]


def test_a_reader_who_is_further_is_given_the_late_lines_of_an_earlier_attempt(database):
    stale, hold = superseded_job(database)
    write(database, stale, lines("early"))
    write(database, hold, lines("newer"))
    _, cursor, _ = read(database, hold.job_id)
    write(database, stale, lines("late", first=2))
    assert texts(database, hold.job_id, after=cursor) == [(1, "late")]


def test_nothing_is_written_for_a_job_that_was_deleted(database):
    hold = running_job(database)
    write(database, hold, lines("one"))
    with database.write() as session:
        session.execute(sa.delete(Job))
    assert not write(database, hold, lines("two", first=2))
    with database.read() as session:
        assert session.scalars(sa.select(Log)).all() == []


def test_a_line_is_dated_by_the_databases_clock_less_its_wait(database):
    hold = claimed_job(database)
    write(database, hold, [LogLine(seq=1, stream=LogStream.STDERR, text="", heard=time.monotonic() - 100)])
    with database.read() as session:
        line = session.scalars(sa.select(Log)).one()
    claimed = seconds_from_now(database, Job.started_at, hold.job_id)
    with database.read() as session:
        started = session.scalars(sa.select(Job.started_at)).one()
    assert (line.at - started).total_seconds() == pytest.approx(-100 - claimed, abs=5)


@properties
@given(
    st.lists(
        st.tuples(st.sampled_from(LogStream), st.text(st.characters(codec="utf-8", exclude_characters="\0")))
    ),
    st.integers(1, 4),
)
def test_pages_give_every_line_once_and_in_order(database, written, limit):
    hold = claimed_job(database)
    heard = time.monotonic()
    found = [
        LogLine(seq=seq, stream=stream, text=text, heard=heard) for seq, (stream, text) in enumerate(written, 1)
    ]
    write(database, hold, found)
    for stream in (None, *LogStream):
        pages, cursor, more = [], None, True
        while more:
            page, cursor, more = read(database, hold.job_id, stream=stream, after=cursor, limit=limit)
            assert len(page) == limit or not more
            pages += page
        assert pages == [(1, line.text) for line in found if stream in (None, line.stream)]


def test_a_reader_at_the_end_reads_on_from_there(database):
    hold = running_job(database)
    page, cursor, more = read(database, hold.job_id)
    assert (page, more) == ([], False)
    write(database, hold, lines("one"))
    page, cursor, _ = read(database, hold.job_id, after=cursor)
    assert page == [(1, "one")]
    assert texts(database, hold.job_id, after=cursor) == []
    with database.write() as session:
        lease.release(session, hold)
    write(database, claim(database), lines("again"))
    assert texts(database, hold.job_id, after=cursor) == [(2, "again")]


@pytest.mark.parametrize(
    "cursor",
    ["nonsense", *(Cursor(attempt=0, steps={k: v}).encode() for k, v in (("train", 1), ("-1", 1), ("1", 2**31)))],
)
def test_a_cursor_of_something_else_is_refused(database, cursor):
    hold = claimed_job(database)
    with pytest.raises(InvalidCursor):
        read(database, hold.job_id, after=cursor)


def test_a_cursor_of_very_many_attempts_is_read(database):
    hold = claimed_job(database)
    write(database, hold, lines("one"))
    cursor = Cursor(attempt=0, steps={str(attempt): 1 for attempt in range(2, 1500)})
    assert texts(database, hold.job_id, after=cursor.encode()) == [(1, "one")]
