"""SIGTERM to the API, and a database that does not answer."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from api.settings import ApiSettings
from db import migrate
from db.engine import Database
from tests.api.support import read_events, running, serving
from tests.api.test_bad_input import SPEC, problem
from tests.services import accepts_connections, free_port, wait_for


@pytest.fixture
def settings(tmp_path):
    made = ApiSettings(home=tmp_path, port=free_port())
    opened = Database(made.database_url)
    migrate.upgrade(opened)
    opened.dispose()
    return made


@contextlib.contextmanager
def process(settings: ApiSettings):
    """The API as `normlab-server api` runs it, its output in a file."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NORMLAB_")}
    environment |= {"NORMLAB_HOME": str(settings.home), "NORMLAB_PORT": str(settings.port)}
    with (settings.home / "output.log").open("w") as output:
        command = [sys.executable, "-m", "api.cli", "api"]
        api = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        wait_for(lambda: accepts_connections(settings.port))
        yield api
    finally:
        api.kill()
        api.wait()


def test_a_stopping_server_ends_streams_and_long_polls_and_leaves_in_order(settings):
    url = f"http://127.0.0.1:{settings.port}"
    opened = threading.Semaphore(0)

    def read_stream(job: str):
        with httpx2.stream("GET", f"{url}/v1/jobs/{job}/events/stream", timeout=30) as answer:
            events = read_events(answer)
            first = next(events)
            opened.release()
            return [first["id"], *(event["id"] for event in events)]

    def poll(job: str):
        return httpx2.get(f"{url}/v1/jobs/{job}", params={"wait": 60}, timeout=30)

    with process(settings) as api, ThreadPoolExecutor(25) as threads:
        job = httpx2.post(f"{url}/v1/jobs", json=SPEC).json()["id"]
        streams = [threads.submit(read_stream, job) for _ in range(20)]
        polls = [threads.submit(poll, job) for _ in range(5)]
        for _ in streams:
            assert opened.acquire(timeout=30)
        time.sleep(0.3)  # the long polls have no first line to wait for
        start = time.monotonic()
        api.send_signal(signal.SIGTERM)
        assert api.wait(20) == 0
        assert time.monotonic() - start < 5
        assert [stream.result() for stream in streams] == [["1"]] * 20
        answers = [waiting.result() for waiting in polls]
    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "queued")] * 5
    assert (settings.home / "output.log").read_text() == ""


def test_a_running_request_is_finished_and_meanwhile_the_server_says_that_it_is_not_ready(settings):
    url = f"http://127.0.0.1:{settings.port}"
    with running(settings) as server, ThreadPoolExecutor(1) as threads, httpx2.Client(base_url=url) as http:
        assert http.get("/readyz").status_code == 200
        with contextlib.closing(sqlite3.connect(settings.home / "normlab.db")) as other:
            other.execute("BEGIN IMMEDIATE")  # a submission waits for this lock
            waiting = threads.submit(httpx2.post, f"{url}/v1/jobs", json=SPEC, timeout=30)
            time.sleep(0.3)
            server.should_exit = True
            unready = wait_for(lambda: (answer := http.get("/readyz")).status_code == 503 and answer, 2)
            other.rollback()
        assert unready.json()["checks"]["process"] == "stopping"
        assert waiting.result().status_code == 201


def test_a_locked_database_is_503_and_not_500(settings, monkeypatch):
    monkeypatch.setattr("db.engine.SQLITE_BUSY_TIMEOUT", 0.1)
    database = sqlite3.connect(settings.home / "normlab.db")
    with serving(settings) as url, contextlib.closing(database) as other:
        assert httpx2.post(f"{url}/v1/jobs", json=SPEC).status_code == 201
        other.execute("BEGIN IMMEDIATE")
        answer = httpx2.post(f"{url}/v1/jobs", json=SPEC)
        assert problem(answer, 503)["code"] == "database_unavailable"
        assert int(answer.headers["Retry-After"]) > 0
        other.rollback()
        assert httpx2.post(f"{url}/v1/jobs", json=SPEC).status_code == 201


def test_a_server_that_cannot_be_reached_is_503_and_not_500(tmp_path):
    address = f"postgresql://normlab@127.0.0.1:{free_port()}/none"
    settings = ApiSettings(home=tmp_path, port=free_port(), database_url=address)
    with serving(settings) as url:
        for path in (
            "",
            "/job_" + 32 * "0",
            "/job_" + 32 * "0" + "?wait=1",
            "/job_" + 32 * "0" + "/events/stream",
        ):
            assert problem(httpx2.get(f"{url}/v1/jobs{path}"), 503)["code"] == "database_unavailable"
