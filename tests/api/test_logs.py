"""Logs over HTTP."""

import time

import pytest

from db import attempt_logs, commands, lease
from db.attempt_logs import LogLine
from db.status import LogStream
from tests.api.test_bad_input import SPEC, problem
from tests.db.support import change_job

LINES = [
    (LogStream.STDOUT, "step 1"),
    (LogStream.WARNING, "UserWarning: slow (loader.py, line 3)"),
    (LogStream.STDOUT, "<b>step 2</b>"),
]


@pytest.fixture
def logged(http, database):
    """The address of the logs of a job, whose first attempt has written a few lines."""
    job = http.post("/v1/jobs", json=SPEC).json()
    change_job(database, job["id"], priority=1000)  # before all that other tests have queued
    with database.write() as session:
        hold = lease.claim(session, "test", 60)
        assert hold.job_id == job["id"]
        heard = time.monotonic()
        lines = [
            LogLine(seq=seq, stream=stream, text=text, heard=heard) for seq, (stream, text) in enumerate(LINES, 1)
        ]
        attempt_logs.write(session, hold, lines)
        commands.cancel(session, hold.job_id)
        lease.cancelled(session, hold)
    return f"/v1/jobs/{hold.job_id}/logs"


def test_a_line_says_where_it_comes_from(http, logged):
    answer = http.get(logged).json()
    assert set(answer) == {"data", "next_cursor", "more"}
    assert answer["more"] is False
    first = answer["data"][0]
    assert first.pop("at").endswith("Z")
    assert first == {"attempt": 1, "seq": 1, "stream": "stdout", "text": "step 1"}
    assert [line["seq"] for line in answer["data"]] == [1, 2, 3]


def test_pages_lead_to_the_end_and_beyond(http, logged):
    first = http.get(logged, params={"limit": 2}).json()
    assert ([line["seq"] for line in first["data"]], first["more"]) == ([1, 2], True)
    rest = http.get(logged, params={"after": first["next_cursor"]}).json()
    assert ([line["seq"] for line in rest["data"]], rest["more"]) == ([3], False)
    end = http.get(logged, params={"after": rest["next_cursor"]}).json()
    assert end == {"data": [], "next_cursor": rest["next_cursor"], "more": False}


def test_one_attempt_and_one_stream_can_be_chosen(http, logged):
    warnings = http.get(logged, params={"stream": "warning", "attempt": 1}).json()["data"]
    assert [line["seq"] for line in warnings] == [2]
    assert http.get(logged, params={"attempt": 2}).json()["data"] == []


def test_text_is_the_lines_alone(http, logged):
    answer = http.get(logged, params={"limit": 2}, headers={"Accept": "text/plain"})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.text == "step 1\nUserWarning: slow (loader.py, line 3)\n"
    assert answer.headers["x-more"] == "true"
    rest = http.get(logged, params={"after": answer.headers["x-cursor"]}, headers={"Accept": "text/plain"})
    assert (rest.text, rest.headers["x-more"]) == ("<b>step 2</b>\n", "false")


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"limit": 0}, "?limit"),
        ({"limit": 1001}, "?limit"),
        ({"attempt": 0}, "?attempt"),
        ({"attempt": 2**31}, "?attempt"),
        ({"stream": "stdin"}, "?stream"),
        ({"after": "nonsense"}, "?after"),
        ({"cursor": "x"}, "?cursor"),
    ],
)
def test_a_wrong_query_parameter_is_named(http, logged, query, pointer):
    wrong = problem(http.get(logged, params=query), 422)
    assert [error["pointer"] for error in wrong["errors"]] == [pointer]


def test_a_job_that_is_not_there_has_no_logs(http):
    problem(http.get("/v1/jobs/job_nothing/logs"), 404)
