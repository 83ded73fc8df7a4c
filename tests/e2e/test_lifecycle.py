"""Jobs that are cancelled, that fail, whose messages are lost, whose worker goes."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from db import jobs
from db.engine import Database
from db.spec.job import JobSpec
from tests.e2e.client import DIGITS, PAPER, Client
from tests.services import Service, wait_for

pytestmark = pytest.mark.e2e


def test_cancel_stops_a_running_job_and_keeps_what_it_recorded(client):
    job_id = client.submit(steps=10**6)
    wait_for(lambda: client.job(job_id)["progress"]["step"] > 0)
    first = client.http.post(f"/v1/jobs/{job_id}/cancel")
    assert (first.status_code, first.json()["status"]) == (202, "cancelling")
    job = client.wait(job_id)
    assert (job["status"], job["reason"]) == ("cancelled", "cancelled")
    assert client.http.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
    steps = client.get(f"/v1/jobs/{job_id}/metrics", names="train/loss")["series"]["train/loss"]["step"]
    assert steps[:3] == [1, 2, 3]


def test_cancel_of_a_queued_job_is_immediate_and_of_an_ended_one_refused(client):
    blockers = [client.submit(steps=10**6) for _ in range(os.cpu_count() or 1)]
    for blocker in blockers:
        client.wait(blocker, "running")
    queued = client.submit()
    answer = client.http.post(f"/v1/jobs/{queued}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    for blocker in blockers:
        client.http.post(f"/v1/jobs/{blocker}/cancel")
        assert client.wait(blocker)["status"] == "cancelled"
    ended = client.run()
    refused = client.http.post(f"/v1/jobs/{ended['id']}/cancel")
    assert refused.status_code == 409
    assert refused.json()["allowed"] == ["queued", "paused", "starting", "running"]


def test_a_diverging_run_fails_with_the_step_and_keeps_its_metrics(client):
    spec = {**DIGITS, "norm": {"name": "none"}, "optimizer": {"name": "SGD", "lr": 1e12}}
    spec["architecture"] = {"name": "mlp", "hidden": [32] * 8, "activation": "linear"}
    job = client.wait(client.submit(spec))
    failure = job["failure"]
    assert (job["status"], failure["code"], failure["retryable"]) == ("failed", "diverged", False)
    assert "optimizer.lr" in failure["hint"]
    loss = client.get(f"/v1/jobs/{job['id']}/metrics", names="train/loss")["series"]["train/loss"]
    assert loss["step"] == list(range(1, failure["step"] + 1))
    assert loss["value"][-1] in ("NaN", "Infinity")
    assert all(isinstance(value, float) for value in loss["value"][:-1])


def test_a_job_whose_message_was_lost_is_only_late(client, service):
    settings = {"NORMLAB_DATABASE_URL": f"sqlite:///{service.home / 'normlab.db'}", **service.environment}
    database = Database(settings["NORMLAB_DATABASE_URL"])
    with database.write() as session:  # what the API does, less the message
        job_id = jobs.create(session, JobSpec.model_validate(DIGITS)).id
    database.dispose()
    assert client.wait(job_id)["status"] == "succeeded"


def test_jobs_are_listed_by_pages_and_filters(client):
    made = [client.run(norm={"name": "none"}, steps=2)["id"] for _ in range(5)]
    query = {"status": "succeeded", "norm": "none", "architecture": "mlp", "limit": 2}
    first = client.get("/v1/jobs", **query)
    second = client.get("/v1/jobs", **query, cursor=first["next_cursor"])
    assert [job["id"] for job in (*first["data"], *second["data"])] == made[:0:-1]


def trainers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [*map(int, children), *(below for child in children for below in trainers_of(int(child)))]


def test_a_stopped_service_hands_its_jobs_back_and_finishes_them_after_a_start(tmp_path):
    service = Service(home=tmp_path / "home")
    service.start()
    with service.client() as http:
        client = Client(http)
        job_id = client.submit(steps=6000, evaluate={"every": 6000})
        wait_for(lambda: client.job(job_id)["progress"]["step"] > 0)
        processes = trainers_of(service.process.pid)
        assert service.stop() == 0
    # Those that only wait for their parent's end need a moment more.
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), timeout=5)
    service.start()
    with service.client() as http:
        client = Client(http)
        job = client.wait(job_id)
        assert (job["status"], job["attempt"]) == ("succeeded", 2)
        series = client.get(f"/v1/jobs/{job_id}/metrics", names="train/loss")["series"]["train/loss"]
        assert series["step"] == list(range(1, 6001))
        events = client.get(f"/v1/jobs/{job_id}/events")["data"]
        assert "released" in [event["data"].get("reason") for event in events]
        first, second = client.get(f"/v1/jobs/{job_id}/attempts")["data"]
        (resumed,) = [event["data"]["step"] for event in events if event["type"] == "resumed"]
        assert (first["start_step"], second["start_step"]) == (0, resumed)
        assert 0 < resumed < 6000
    service.process.send_signal(signal.SIGINT)  # Ctrl-C
    assert service.process.wait(90) == 0


def test_missing_data_fails_the_job_and_says_where_to_put_it(without_data_and_patience):
    service = without_data_and_patience
    with service.client() as http:
        client = Client(http)
        job = client.wait(client.submit(PAPER))
    assert (job["status"], job["failure"]["code"]) == ("failed", "data_error")
    assert str(service.home / "data" / "mnist") in job["failure"]["hint"]
    assert "NORMLAB_DATA_DIR" in job["failure"]["hint"]


def test_the_printed_curl_trains(service, client):
    start = service.output.index("  curl -s")
    command = service.output[start : service.output.index("}'", start) + 2]
    answer = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    job_id = client.get("/v1/jobs", limit=1)["data"][0]["id"]
    assert job_id in answer.stdout
    assert client.wait(job_id)["latest"]["test/accuracy"]["value"] > 0.9
