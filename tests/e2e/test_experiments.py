"""Experiments from end to end: declared over HTTP, run by a worker, reported."""

import pytest

from tests.e2e.client import DIGITS
from tests.services import wait_for

pytestmark = pytest.mark.e2e

BASE = {key: value for key, value in DIGITS.items() if key != "norm"} | {"evaluate": {"every": 20}}


@pytest.fixture
def embedded_alone(request, service):
    """What differs between the databases, the tests of the database say."""
    if "postgres" in request.node.callspec.id:
        pytest.skip("on the embedded stack")


def post(client, name: str, **changes):
    body = {"name": name, "base": BASE, "axes": {"norm": ["none", "batch"]}, "seeds": 2} | changes
    answer = client.http.post("/v1/experiments", json=body)
    assert answer.status_code == 201, answer.text
    return f"/v1/experiments/{answer.json()['id']}"


def command(client, path: str, name: str):
    answer = client.http.post(f"{path}/{name}")
    assert answer.status_code == 202, answer.text
    return answer.json()


def wait(client, path: str, status: str):
    """The experiment once it has the status."""

    def reached():
        shown = client.get(path)
        return shown if shown["status"] == status else None

    return wait_for(reached, timeout=120, every=0.1)


def test_cells_run_and_are_reported(client):
    path = post(
        client,
        "run and report",
        axes={"norm": ["none", "batch"], "optimizer.lr": [0.05, 0.2]},
        baseline={"norm": "none"},
        target={"metric": "test/accuracy", "value": 0.8},
        max_parallel=2,
    )
    shown = wait(client, path, "completed")
    assert shown["progress"]["cells"] == {"succeeded": 8}
    assert shown["finished_at"] is not None
    report = client.get(f"{path}/report")
    assert len(report["arms"]) == 4
    for arm in report["arms"]:
        assert arm["final"]["test/accuracy"]["n"] == 2
        assert arm["cells"] == {"succeeded": 2}
        assert arm["seconds"]["median"] > 0
        steps = arm["steps_to_target"]
        assert steps["reached"] + steps["censored"] == 2
    best = max(report["arms"], key=lambda arm: arm["final"]["test/accuracy"]["median"])
    assert best["final"]["test/accuracy"]["median"] > 0.9
    listed = client.get("/v1/jobs", experiment=shown["id"], order="-test/accuracy", limit=100)["data"]
    accuracies = [job["latest"]["test/accuracy"]["value"] for job in listed]
    assert len(listed) == 8
    assert accuracies == sorted(accuracies, reverse=True)


@pytest.mark.usefixtures("embedded_alone")
def test_a_pause_frees_the_slots_and_resuming_ends_as_if_nothing_had_been(client):
    long = {"base": BASE | {"steps": 3000, "evaluate": {"every": 1000}}, "seeds": 1}
    undisturbed = post(client, "undisturbed", **long)
    wait(client, undisturbed, "completed")
    path = post(client, "disturbed", **long)
    wait_for(lambda: client.get(path)["progress"]["cells"].get("running"), timeout=60)
    command(client, path, "pause")
    shown = wait(client, path, "paused")
    assert set(shown["progress"]["cells"]) <= {"paused", "waiting", "succeeded"}
    assert client.get("/v1/queue")["data"] == []
    command(client, path, "resume")
    wait(client, path, "completed")
    ends = [
        {
            cell["cell_id"]: client.job(cell["job"])["latest"]["test/loss"]
            for cell in client.get(f"{each}/cells")["data"]
        }
        for each in (undisturbed, path)
    ]
    assert ends[0] == ends[1]


@pytest.mark.usefixtures("embedded_alone")
def test_a_search_runs_its_trials_as_jobs(client):
    space = {"optimizer.lr": {"low": 0.001, "high": 1.0, "log": True}}
    search = {"name": "optuna", "trials": 3, "space": space}
    path = post(client, "search", base=BASE | {"steps": 60}, search=search, seeds=1)
    shown = wait(client, path, "completed")
    assert shown["progress"]["cells"] == {"succeeded": 6}
    cells = client.get(f"{path}/cells")["data"]
    assert sorted(cell["trial"] for cell in cells) == [0, 0, 1, 1, 2, 2]
    assert all(cell["value"] is not None for cell in cells)


@pytest.mark.usefixtures("embedded_alone")
def test_cancelling_stops_running_cells(client):
    path = post(client, "cancel", base=BASE | {"steps": 10**6})
    wait_for(lambda: client.get(path)["progress"]["cells"].get("running"), timeout=60)
    command(client, path, "cancel")
    shown = wait(client, path, "cancelled")
    assert set(shown["progress"]["cells"]) <= {"cancelled", "waiting"}


@pytest.mark.usefixtures("embedded_alone")
def test_equal_jobs_are_reused(client):
    first = post(client, "first of two")
    wait(client, first, "completed")
    second = wait(client, post(client, "second of two", reuse=True), "completed")
    assert second["progress"]["reused"] == 4
    cells = [client.get(f"{path}/cells")["data"] for path in (first, f"/v1/experiments/{second['id']}")]
    assert [cell["job"] for cell in cells[0]] == [cell["job"] for cell in cells[1]]
    assert all(cell["reused"] for cell in cells[1])
