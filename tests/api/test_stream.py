"""The timeline as server-sent events: everything once, in order, until the job has ended."""

import contextlib
import json
import socket
import threading

import httpx2
import pytest

from api.settings import ApiSettings
from db import commands, migrate
from db.engine import Database
from tests.api.support import add_line, read_events, serving
from tests.api.test_bad_input import SPEC, problem
from tests.services import free_port, wait_for


@pytest.fixture
def job(http):
    return http.post("/v1/jobs", json=SPEC).json()["id"]


@pytest.fixture
def cancel(database):
    def end(job_id: str) -> None:
        with database.write() as session:
            commands.cancel(session, job_id)

    return end


def stream(http, job: str, **options):
    return http.stream("GET", f"/v1/jobs/{job}/events/stream", **options)


def test_a_stream_has_the_lines_of_the_timeline_and_ends_with_the_job(http, database, job, cancel):
    add_line(database, job, text="two\nlines")
    with stream(http, job) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "ETag" not in answer.headers
        threading.Timer(0.3, cancel, [job]).start()
        seen = list(read_events(answer))
    lines = http.get(f"/v1/jobs/{job}/events").json()["data"]
    assert [json.loads(event["data"]) for event in seen] == lines
    assert [(event["id"], event["event"]) for event in seen] == [
        (str(line["seq"]), line["type"]) for line in lines
    ]
    assert lines[-1]["data"]["status"] == "cancelled"


@pytest.mark.parametrize(
    "options", [{"params": {"after": 2}}, {"headers": {"Last-Event-ID": "2"}, "params": {"after": 1}}]
)
def test_a_stream_goes_on_after_the_line_that_was_read_last(http, database, job, cancel, options):
    for _ in range(2):
        add_line(database, job)
    cancel(job)
    with stream(http, job, **options) as answer:
        assert [event["id"] for event in read_events(answer)] == ["3", "4"]


def test_a_long_timeline_is_read_in_pages(http, database, job, cancel):
    for number in range(230):
        add_line(database, job, number=number)
    cancel(job)
    with stream(http, job) as answer:
        assert [int(event["id"]) for event in read_events(answer)] == list(range(1, 233))


def test_an_ended_job_that_is_read_to_its_end_is_not_streamed_again(http, job, cancel):
    cancel(job)
    answer = http.get(f"/v1/jobs/{job}/events/stream", headers={"Last-Event-ID": "2"})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("given", ["", "two", "-1", "1.5", "²", str(2**31)])
def test_a_last_event_id_that_is_none_is_refused(http, job, given):
    answer = http.get(f"/v1/jobs/{job}/events/stream", headers={"Last-Event-ID": given.encode()})
    document = problem(answer, 422)
    assert document["errors"][0]["pointer"] == "Last-Event-ID"


def test_a_job_that_is_not_there_has_no_stream(http):
    problem(http.get("/v1/jobs/job_none/events/stream"), 404)


def test_a_quiet_stream_shows_that_it_lives(http, job, monkeypatch):
    monkeypatch.setattr("api.event_stream.PING_SECONDS", 0.05)
    with stream(http, job) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith(":"))
        assert [next(lines) for _ in range(2)] == [": ping"] * 2


def test_a_stream_ends_when_its_time_is_over(http, job, monkeypatch):
    monkeypatch.setattr("api.event_stream.LIFETIME", 0.4)
    with stream(http, job) as answer:
        assert [event["id"] for event in read_events(answer)] == ["1"]


def test_one_stream_too_many_is_sent_away_and_a_client_that_is_gone_makes_room(tmp_path, monkeypatch):
    monkeypatch.setattr("api.main.MOST_STREAMS", 2)
    settings = ApiSettings(home=tmp_path, port=free_port())
    with migrated(settings), serving(settings) as url, httpx2.Client(base_url=url) as http:
        job = http.post("/v1/jobs", json=SPEC).json()["id"]
        with stream(http, job) as first, stream(http, job) as second:
            assert (first.status_code, second.status_code) == (200, 200)
            with stream(http, job) as third:
                third.read()
            assert problem(third, 503)["code"] == "too_many_streams"
            assert int(third.headers["Retry-After"]) > 0
        wait_for(lambda: opens(http, job), 5)


def test_a_client_that_does_not_read_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("api.main.MOST_STREAMS", 1)
    monkeypatch.setattr("api.event_stream.SEND_SECONDS", 0.3)
    settings = ApiSettings(home=tmp_path, port=free_port())
    with migrated(settings) as database, serving(settings) as url, httpx2.Client(base_url=url) as http:
        job = http.post("/v1/jobs", json=SPEC).json()["id"]
        for _ in range(20):
            add_line(database, job, text=500_000 * "x")
        with socket.create_connection(("127.0.0.1", settings.port)) as reader:
            reader.sendall(f"GET /v1/jobs/{job}/events/stream HTTP/1.1\r\nHost: normlab\r\n\r\n".encode())
            assert reader.recv(15) == b"HTTP/1.1 200 OK"
            assert not opens(http, job)
            wait_for(lambda: opens(http, job, after=21), 5)


@contextlib.contextmanager
def migrated(settings: ApiSettings):
    database = Database(settings.database_url)
    migrate.upgrade(database)
    yield database
    database.dispose()


def opens(http, job: str, after: int = 0) -> bool:
    with stream(http, job, params={"after": after}) as answer:
        return answer.status_code == 200
