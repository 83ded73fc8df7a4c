"""What a real process writes is in the database, whatever becomes of the process."""

import multiprocessing
import signal
import threading
import time
from datetime import UTC, datetime
from functools import partial

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from db.status import LogStream
from db.tables import Job, Log
from tests.db.support import claimed_job
from tests.services import wait_for
from tests.worker import children
from worker import attempt_log
from worker.attempt_log import AttemptLog
from worker.log_lines import CUT, FULL, MAX_BYTES, MAX_LINE_BYTES, MAX_LINES, LogLines


class Attempt:
    """A process of the fork server, and the log of it."""

    def __init__(self, database, target):
        self.log = AttemptLog(database, claimed_job(database))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["worker.preload"])  # the fork server serves other tests too
        self.process = context.Process(target=target, args=(self.log.child_ends,), daemon=True)
        self.process.start()
        self.log.start()

    def end(self) -> int | None:
        """Of the process, then of the log; the exit code."""
        self.process.join(20)
        self.log.close()
        return self.process.exitcode


def lines_of(database) -> list[tuple[str, str]]:
    with database.read() as session:
        return [(line.stream.value, line.text) for line in session.scalars(sa.select(Log).order_by(Log.seq))]


def wait_for_writers() -> None:
    """However slow the machine is."""
    wait_for(lambda: all(thread.name != "log writer" for thread in threading.enumerate()), timeout=20)


def run(database, target) -> int | None:
    """The exit code of a process, once all that it wrote is stored."""
    exit_code = Attempt(database, target).end()
    wait_for_writers()
    return exit_code


def texts_of(database, target) -> list[str]:
    assert run(database, target) == 0
    return [text for _, text in lines_of(database)]


def test_every_way_of_writing_is_caught(database):
    assert run(database, children.write_everywhere) == 0
    lines = lines_of(database)
    printed = ["printed", "from a child of its own", "unfinished"]
    assert [text for stream, text in lines if stream == "stdout"] == printed
    assert [text for stream, text in lines if stream == "stderr"] == ["on stderr", "by descriptor"]
    ((_, warning),) = (line for line in lines if line[0] == "warning")
    assert warning.startswith("RuntimeWarning: of two lines (children.py, line ")


def test_what_was_printed_right_before_a_kill_is_there(database):
    assert run(database, children.print_in_c_and_be_killed) == -signal.SIGKILL
    assert lines_of(database) == [("stdout", "printed"), ("stdout", "from C")]


def test_lines_are_there_while_the_process_runs(database):
    attempt = Attempt(database, children.leave_a_process_behind)
    wait_for(lambda: lines_of(database), timeout=20)
    attempt.end()


def test_what_postgres_or_utf_8_cannot_hold_is_replaced(database):
    data = b"a\0b\nno \xff utf-8\n\xe2\x82\xac\r\n\n"
    assert texts_of(database, partial(children.write_bytes, data=data)) == ["ab", "no � utf-8", "€", ""]


def test_a_flood_is_read_and_only_its_beginning_kept(database):
    texts = texts_of(database, partial(children.write_bytes, data=b"0123456789abcde\n" * (5 << 16)))
    assert len(texts) == MAX_LINES + 1
    assert texts[-2:] == ["0123456789abcde", FULL]


def test_the_process_does_not_wait_for_the_database(database):
    with database.write():  # nobody else can write meanwhile
        attempt = Attempt(database, partial(children.write_bytes, data=b"0123456789\n" * (5 << 16)))
        attempt.process.join(20)
        assert attempt.process.exitcode == 0
        assert lines_of(database) == []
    attempt.end()
    wait_for_writers()
    assert len(lines_of(database)) == MAX_LINES + 1


def test_lines_outlast_a_database_that_fails(database):
    rename = "ALTER TABLE {} RENAME TO {}".format
    with database.write() as session:
        session.execute(sa.text(rename("logs", "gone")))
    attempt = Attempt(database, children.write_everywhere)
    assert attempt.end() == 0
    with database.write() as session:
        session.execute(sa.text(rename("gone", "logs")))
    wait_for_writers()
    assert ("stdout", "printed") in lines_of(database)


def test_the_log_of_a_deleted_job_ends_quietly(database, caplog):
    attempt = Attempt(database, children.write_everywhere)
    with database.write() as session:
        session.execute(sa.delete(Job))
    assert attempt.end() == 0
    wait_for_writers()
    assert lines_of(database) == []
    assert caplog.records == []


def test_a_process_that_is_left_behind_does_not_hold_up_the_end(database, monkeypatch):
    monkeypatch.setattr(attempt_log, "CLOSE_SECONDS", 0.2)
    attempt = Attempt(database, children.leave_a_process_behind)
    attempt.process.join(20)
    started = time.monotonic()
    attempt.log.close()
    assert time.monotonic() - started < 1.5
    wait_for_writers()
    assert lines_of(database) == [("stdout", "printed")]


def test_the_inside_of_the_service_stays_inside(database, tmp_path):
    stderr = tmp_path / "stderr"
    assert run(database, partial(children.log_and_fail, stderr=stderr)) == 1
    assert lines_of(database) == []
    written = stderr.read_text()
    assert "WARNING normlab: of the inside" in written
    assert "Thread helper failed." in written
    assert written.count("Traceback") == 2
    assert written.endswith("RuntimeError: at last\n")


def test_a_line_has_the_time_at_which_it_came(database):
    attempt = Attempt(database, children.tell_the_time)
    with database.write():
        attempt.process.join(20)
        time.sleep(1)
    attempt.end()
    wait_for_writers()
    with database.read() as session:
        line = session.scalars(sa.select(Log)).one()
    assert line.at.timestamp() == pytest.approx(float(line.text), abs=0.5)
    assert line.at < datetime.now(UTC)


def all_lines(parts: list[bytes]) -> list[str]:
    lines = LogLines()
    found = [line for part in parts for line in lines.add(LogStream.STDOUT, part)]
    return [line.text for line in found + lines.end(LogStream.STDOUT)]


LETTERS = st.characters(exclude_characters="\n\r\0", codec="utf-8")


@given(st.lists(st.text(LETTERS, max_size=5), max_size=5), st.integers(1, 7))
def test_lines_do_not_depend_on_how_their_bytes_arrive(texts, size):
    data = "".join(f"{text}\n" for text in texts).encode()
    assert all_lines([data[start : start + size] for start in range(0, len(data), size)]) == texts


@pytest.mark.parametrize("size", [1000, 100_000])
def test_a_long_line_is_cut_and_says_so(size):
    longest = b"x" * MAX_LINE_BYTES
    data = longest + b"\n" + longest + b"y" * 20_000 + b"\nshort"
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    assert all_lines(parts) == [longest.decode(), longest.decode() + CUT, "short"]


def test_a_log_is_full_by_its_bytes_too_and_once():
    lines = LogLines()
    found = [line for _ in range(300) for line in lines.add(LogStream.STDERR, b"x" * MAX_LINE_BYTES + b"\n")]
    assert len(found) == MAX_BYTES // MAX_LINE_BYTES + 1
    assert (found[-1].stream, found[-1].text) == (LogStream.WARNING, FULL)
    assert [line.seq for line in found] == list(range(1, len(found) + 1))
    assert lines.end(LogStream.STDERR) == []
