"""What clients ask of jobs that run, and what becomes of them: over HTTP, with a real worker."""

import os
import signal
import time

import httpx2
import pytest

from tests.e2e.client import DIGITS, Client
from tests.faults.processes import processes
from tests.services import wait_for

pytestmark = pytest.mark.e2e

#: About two seconds of training.
SOME_TIME = {**DIGITS, "steps": 4000, "checkpoint": {"every": 1000}, "evaluate": {"every": 1000}}
#: An evaluation takes many times as long as a step.
SLOW_TO_EVALUATE = {
    **DIGITS,
    "architecture": {"name": "resnet", "depth": 32},
    "batch_size": 8,
    "steps": 100,
    "evaluate": {"every": 1, "train_samples": 1400, "population": "sequential"},
}


def begun(client, job_id, step=0):
    """The job once it is beyond a step."""
    return wait_for(lambda: (job := client.job(job_id))["progress"]["step"] > step and job)


def weights(client, job_id) -> str:
    files = client.get(f"/v1/jobs/{job_id}/artifacts")["data"]
    return next(file["sha256"] for file in files if file["filename"] == "model.safetensors")


def series(client, job_id):
    """All metrics but times."""
    found = client.get(f"/v1/jobs/{job_id}/metrics")["series"]
    return {name: columns for name, columns in found.items() if name != "samples_per_second"}


@pytest.fixture(scope="module")
def left_alone(service):
    """A job that nobody paused or cancelled."""
    with service.client() as http:
        return Client(http).run(SOME_TIME)["id"]


def test_a_paused_and_resumed_job_ends_as_one_that_was_left_alone(client, left_alone):
    job_id = client.submit(SOME_TIME)
    begun(client, job_id, 500)
    assert client.http.post(f"/v1/jobs/{job_id}/pause").status_code == 202
    paused = client.wait(job_id, "paused")
    assert 500 < paused["progress"]["step"] < 4000
    assert client.http.post(f"/v1/jobs/{job_id}/pause").status_code == 200
    assert client.get(f"/v1/jobs/{job_id}/checkpoints")["data"][0]["step"] == paused["progress"]["step"]
    assert client.http.post(f"/v1/jobs/{job_id}/resume").status_code == 202
    assert client.http.post(f"/v1/jobs/{job_id}/resume").status_code == 200
    ended = client.wait(job_id)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 2)
    assert weights(client, job_id) == weights(client, left_alone)
    assert series(client, job_id) == series(client, left_alone)


def test_a_cancelled_job_that_is_retried_ends_as_one_that_was_left_alone(client, left_alone):
    job_id = client.submit(SOME_TIME)
    begun(client, job_id, 1500)
    client.http.post(f"/v1/jobs/{job_id}/cancel")
    assert client.wait(job_id)["status"] == "cancelled"
    assert client.http.post(f"/v1/jobs/{job_id}/retry").status_code == 202
    assert client.wait(job_id)["status"] == "succeeded"
    assert weights(client, job_id) == weights(client, left_alone)
    assert series(client, job_id) == series(client, left_alone)


@pytest.mark.parametrize("service", ["postgres-redis"], indirect=True)
def test_forks_train_on_and_reproductions_end_with_the_same_weights(client):
    parent = client.run(steps=300)["id"]
    body = {"checkpoint": "last", "overrides": {"steps": 500, "optimizer": {"lr": 0.01}}}
    fork = client.wait(client.http.post(f"/v1/jobs/{parent}/fork", json=body).json()["id"])
    assert (fork["status"], fork["progress"]["step"]) == ("succeeded", 500)
    assert series(client, fork["id"])["train/loss"]["step"] == list(range(301, 501))
    for job_id in (parent, fork["id"]):
        again = client.wait(client.http.post(f"/v1/jobs/{job_id}/reproduce").json()["id"])
        assert again["origin"]["identical"] is True
        assert again["origin"]["differences"] == {}
        assert series(client, again["id"]) == series(client, job_id)


@pytest.mark.parametrize("service", ["postgres-redis"], indirect=True)
def test_a_cancel_ends_an_evaluation_in_its_middle_and_keeps_what_was_recorded(client):
    job_id = client.submit(SLOW_TO_EVALUATE)
    # The first step is flushed before its evaluation.
    wait_for(lambda: "train/loss" in client.job(job_id)["latest"])
    asked = time.monotonic()
    client.http.post(f"/v1/jobs/{job_id}/cancel")
    job = client.wait(job_id)
    assert time.monotonic() - asked < 2.5
    assert (job["status"], job["latest"]["train/loss"]["step"]) == ("cancelled", job["progress"]["step"])


@pytest.mark.parametrize("service", ["postgres-redis"], indirect=True)
def test_a_job_whose_time_is_used_up_fails_with_a_checkpoint_and_may_be_retried(client):
    job = client.wait(client.submit(steps=10**6, max_runtime_seconds=1))
    assert (job["status"], job["failure"]["code"]) == ("failed", "max_runtime")
    reached = job["progress"]["step"]
    assert client.get(f"/v1/jobs/{job['id']}/checkpoints")["data"][0]["step"] == reached > 0
    client.http.post(f"/v1/jobs/{job['id']}/retry")
    again = client.wait(job["id"])
    assert (again["failure"]["code"], again["attempt"]) == ("max_runtime", 2)
    assert again["progress"]["step"] > reached


@pytest.mark.parametrize("service", ["postgres-redis"], indirect=True)
def test_a_job_stops_early_at_its_target_and_its_best_model_can_be_had(client):
    dataset = {"name": "digits", "validation_fraction": 0.2}
    stopping = {"target": 0.8, "patience": 50}
    job = client.run(dataset=dataset, steps=20_000, evaluate={"every": 20}, early_stopping=stopping)
    assert (job["reason"], job["status"]) == ("early_stopped", "succeeded")
    assert job["progress"]["step"] < 20_000
    assert job["latest"]["validation/accuracy"]["value"] >= 0.8
    best = next(each for each in client.get(f"/v1/jobs/{job['id']}/checkpoints")["data"] if each["is_best"])
    assert best["step"] == job["best"]["validation/accuracy"]["step"]
    model = client.http.get(f"/v1/jobs/{job['id']}/model", params={"checkpoint": "best"})
    assert model.status_code == 200


def test_a_long_poll_answers_with_the_next_status_and_a_stream_ends_with_the_job(client):
    job_id = client.submit(steps=1500)
    seen = ["queued"]
    while not client.job(job_id)["finished_at"]:
        seen.append(client.get(f"/v1/jobs/{job_id}", wait=30)["status"])
    assert seen[-1] == "succeeded"
    with client.http.stream("GET", f"/v1/jobs/{job_id}/events/stream") as stream:
        lines = [line for line in stream.iter_lines() if line.startswith("id:")]
    assert [int(line[3:]) for line in lines] == list(range(1, len(lines) + 1))
    after = {"Last-Event-ID": str(len(lines))}
    assert client.http.get(f"/v1/jobs/{job_id}/events/stream", headers=after).status_code == 204


def test_jobs_of_higher_priority_go_first(client):
    blockers = [client.submit(steps=10**6) for _ in range(os.cpu_count() or 1)]
    for blocker in blockers:
        client.wait(blocker, "running")
    low, normal = client.submit(steps=2), client.submit(steps=2)
    high = client.http.post("/v1/jobs", params={"priority": 10}, json={**DIGITS, "steps": 2}).json()["id"]
    client.http.patch(f"/v1/jobs/{low}", json={"priority": -5})
    assert [each["job"] for each in client.get("/v1/queue")["data"]] == [high, normal, low]
    assert client.job(low)["queue"]["position"] == 3
    client.http.post(f"/v1/jobs/{blockers[0]}/cancel")
    started = [client.wait(job_id)["started_at"] for job_id in (high, normal, low)]
    assert started == sorted(started)
    for blocker in blockers[1:]:
        client.http.post(f"/v1/jobs/{blocker}/cancel")
        client.wait(blocker)


def test_a_trainer_that_does_not_stop_is_killed(without_data_and_patience):
    service = without_data_and_patience
    with httpx2.Client(base_url=service.url, timeout=90) as http:
        client = Client(http)
        job_id = client.submit(steps=10**6)
        begun(client, job_id)
        trainer = busiest_below(service.process.pid)
        os.kill(trainer, signal.SIGSTOP)
        # It may have been frozen with SQLite's one write lock: then this is a 503, and the trainer is killed
        # because the lease cannot be kept.
        wait_for(lambda: http.post(f"/v1/jobs/{job_id}/cancel").status_code in (200, 202), timeout=120)
        assert client.wait(job_id)["status"] == "cancelled"
        wait_for(lambda: trainer not in {pid for pid, _ in processes()}, timeout=5)
        assert client.run()["status"] == "succeeded"


def busiest_below(parent: int) -> int:
    """The process with the most processor time of all that descend from one: the trainer that steps."""
    parents = {pid: (int(fields[1]), int(fields[11]) + int(fields[12])) for pid, fields in processes()}

    def descends(pid: int) -> bool:
        while pid in parents:
            pid = parents[pid][0]
            if pid == parent:
                return True
        return False

    time.sleep(1)
    later = {pid: int(fields[11]) + int(fields[12]) for pid, fields in processes()}
    return max(filter(descends, parents), key=lambda pid: later.get(pid, 0) - parents[pid][1])
