"""The queue and the workers over HTTP."""

import pytest
import sqlalchemy as sa

from db import lease, workers
from db.base import now
from db.service_tables import Worker
from db.status import Status, WorkerStatus
from db.tables import Job
from tests.api.jobs import begin, claim, end, post, running
from tests.api.test_bad_input import SPEC, problem
from tests.db.support import change_job


@pytest.fixture(autouse=True)
def empty(database):
    """No job waits, none runs, and there is no worker."""
    with database.write() as session:
        session.execute(sa.delete(Worker))
        session.execute(sa.delete(Job).where(Job.finished_at.is_(None)))


def report(database, name: str = "test", slots: int = 1, status=WorkerStatus.READY) -> None:
    with database.write() as session:
        workers.report(session, name, slots, status, "cpu")


def test_jobs_start_by_priority_and_then_by_age(http, database):
    ids = [
        http.post("/v1/jobs", json=SPEC, params={"priority": priority}).json()["id"]
        for priority in (0, 0, 100, -100, 100)
    ]
    http.patch(f"/v1/jobs/{ids[1]}", json={"priority": 1})
    expected = [ids[2], ids[4], ids[1], ids[0], ids[3]]
    page = http.get("/v1/queue").json()
    assert [line["job"] for line in page["data"]] == expected
    assert [line["position"] for line in page["data"]] == [1, 2, 3, 4, 5]
    assert [line["priority"] for line in page["data"]] == [100, 100, 1, 0, -100]
    claimed = []
    for _ in ids:
        with database.write() as session:
            claimed.append(lease.claim(session, "test", 60).job_id)
    assert claimed == expected


def test_the_queue_says_how_much_waits_and_runs_on_how_many_slots(http, database):
    report(database, slots=2)
    running(http, database)
    ids = [post(http, name=str(number)) for number in range(3)]
    page = http.get("/v1/queue", params={"limit": 2}).json()
    assert (page["queued"], page["running"], page["slots"], page["next_cursor"]) == (3, 1, 2, None)
    assert [line["job"] for line in page["data"]] == ids[:2]
    assert page["data"][0]["estimated_start_seconds"] == 0
    job = http.get(f"/v1/jobs/{ids[0]}").json()
    assert page["data"][0]["queued_at"] == job["created_at"]
    assert job["queue"] == {"position": 1, "estimated_start_seconds": 0}


@pytest.mark.parametrize("limit", [0, 1001, "all"])
def test_a_limit_beyond_the_range_is_refused(http, limit):
    problem(http.get("/v1/queue", params={"limit": limit}), 422)


def test_a_job_shows_its_place_only_while_it_is_queued(http, database):
    first, second = post(http), post(http)
    jobs = {job["id"]: job for job in http.get("/v1/jobs", params={"limit": 2}).json()["data"]}
    assert [jobs[job_id]["queue"]["position"] for job_id in (first, second)] == [1, 2]
    assert jobs[first]["queue"]["estimated_start_seconds"] is None, "there is no worker"
    hold = claim(database, first)
    assert http.get(f"/v1/jobs/{first}").json()["queue"] is None
    begin(database, hold)
    end(database, hold)
    assert http.get(f"/v1/jobs/{first}").json()["queue"] is None
    assert http.get(f"/v1/jobs/{second}").json()["queue"]["position"] == 1


def test_a_job_that_runs_says_when_its_slot_is_free(http, database):
    report(database)
    hold = running(http, database)
    with database.write() as session:
        lease.record(session, hold, step=5, samples_per_second=60.0)
    waiting = post(http)
    assert http.get(f"/v1/jobs/{waiting}").json()["queue"]["estimated_start_seconds"] == 5
    assert http.get(f"/v1/jobs/{hold.job_id}").json()["progress"]["eta_seconds"] == 5


@pytest.mark.parametrize("status", list(Status))
def test_jobs_can_be_filtered_by_every_status(http, status):
    answer = http.get("/v1/jobs", params={"status": status.value})
    assert answer.status_code == 200
    assert {job["status"] for job in answer.json()["data"]} <= {status.value}


def test_workers_are_listed_with_what_they_do(http, database):
    for name, status in (("lost", "ready"), ("draining", "draining"), ("test", "ready")):
        report(database, name, slots=3, status=WorkerStatus(status))
    with database.write() as session:
        session.execute(sa.update(Worker).where(Worker.name == "lost").values(seen_at=now(-60.0)))
    running(http, database)
    page = http.get("/v1/workers").json()
    found = [(worker["name"], worker["status"], worker["slots"], worker["busy"]) for worker in page["data"]]
    assert found == [("draining", "draining", 3, 0), ("lost", "lost", 3, 0), ("test", "ready", 3, 1)]
    assert page["data"][0]["device"] == "cpu"
    assert page["data"][0]["started_at"].endswith("Z")
    assert http.get("/v1/queue").json()["slots"] == 3


def test_a_job_before_another_try_waits_behind_those_that_may_run(http, database):
    report(database)
    waits, may_run = post(http), post(http)
    change_job(database, waits, run_at=now(120.0), priority=100)
    assert [line["job"] for line in http.get("/v1/queue").json()["data"]] == [may_run, waits]
