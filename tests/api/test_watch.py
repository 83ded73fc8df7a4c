"""Waiting for a job: the answer comes when the status changes, and not before."""

import asyncio
import threading
import time

import pytest
import sqlalchemy as sa

from api.watch import Watch
from db import commands
from db.base import Base
from db.engine import Database
from tests.api.support import add_line
from tests.api.test_bad_input import SPEC, problem
from tests.db.support import new_job


@pytest.fixture
def job(http):
    return http.post("/v1/jobs", json=SPEC).json()["id"]


def later(seconds: float, function, *arguments) -> None:
    threading.Timer(seconds, function, arguments).start()


def cancel(database: Database, job_id: str) -> None:
    with database.write() as session:
        commands.cancel(session, job_id)


def timed(http, job: str, wait: int):
    start = time.monotonic()
    answer = http.get(f"/v1/jobs/{job}", params={"wait": wait})
    return answer, time.monotonic() - start


def test_a_long_poll_is_answered_when_the_status_changes(http, database, job):
    later(0.3, add_line, database, job)  # news, but not of the status
    later(0.8, cancel, database, job)
    answer, seconds = timed(http, job, 30)
    assert answer.json()["status"] == "cancelled"
    assert 0.7 < seconds < 5


def test_a_long_poll_is_answered_when_time_is_over(http, job):
    answer, seconds = timed(http, job, 1)
    assert answer.json()["status"] == "queued"
    assert 0.9 < seconds < 5


def test_there_is_nothing_to_wait_for_in_an_ended_job_and_in_none(http, database, job):
    cancel(database, job)
    answer, seconds = timed(http, job, 30)
    assert (answer.json()["status"], seconds < 3) == ("cancelled", True)
    answer, seconds = timed(http, "job_" + 32 * "0", 30)
    assert seconds < 3
    problem(answer, 404)


def test_a_job_that_is_deleted_meanwhile_is_not_found(http, database, job):
    later(0.3, cancel_and_delete, database, job)
    answer, seconds = timed(http, job, 30)
    assert seconds < 5
    problem(answer, 404)


def cancel_and_delete(database: Database, job_id: str) -> None:
    with database.write() as session:
        commands.cancel(session, job_id)
        commands.delete(session, job_id)


@pytest.mark.parametrize("wait", ["-1", "61", "soon"])
def test_a_wait_that_is_none_is_refused(http, job, wait):
    document = problem(http.get(f"/v1/jobs/{job}", params={"wait": wait}), 422)
    assert document["errors"][0]["pointer"] == "?wait"


@pytest.fixture
def empty(tmp_path):
    opened = Database(f"sqlite:///{tmp_path / 'watch.db'}")
    yield opened
    opened.dispose()


def test_a_database_that_does_not_answer_for_a_while_is_asked_again(empty, caplog):
    async def wait_for_news():
        watch = Watch(empty)
        waiting = asyncio.create_task(watch.news("job_any", 0, 10))
        await asyncio.sleep(0.1)  # there is not even a table
        await asyncio.to_thread(Base.metadata.create_all, empty.engine)
        job_id = await asyncio.to_thread(new_job, empty)
        known = await watch.news(job_id, 0, 10)
        gone = await waiting
        await watch.close()
        return known, gone

    known, gone = asyncio.run(wait_for_news())
    assert (known.seq, known.status) == (1, "queued")
    assert gone.status is None
    assert "asking again" in caplog.text


def test_one_question_serves_all_who_wait_and_none_is_asked_for_nobody(empty):
    Base.metadata.create_all(empty.engine)
    asked = []
    sa.event.listen(empty.engine, "before_cursor_execute", lambda *call: asked.append("jobs" in call[2]))

    async def wait_for_news():
        watch = Watch(empty)
        job_id = await asyncio.to_thread(new_job, empty)
        asked.clear()
        await asyncio.gather(*(watch.news(job_id, 1, 0.6) for _ in range(200)))
        while_waiting = asked.count(True)
        await asyncio.sleep(0.6)
        return while_waiting, asked.count(True)

    while_waiting, after = asyncio.run(wait_for_news())
    assert 1 <= while_waiting <= 4
    assert after <= while_waiting + 1
