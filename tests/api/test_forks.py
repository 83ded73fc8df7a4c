"""Forks and reproductions as the API makes them: what is refused, what is copied, what is stored."""

import pytest
import sqlalchemy as sa

from db import checkpoints, lease, origins
from db.lease import Hold
from db.store import Store
from db.tables import Artifact, Attempt, Checkpoint, Job
from tests.api.jobs import claim, end, fail, post, running, save
from tests.api.test_bad_input import problem
from tests.db.support import change_job, events_of, job_of


@pytest.fixture
def store(settings) -> Store:
    return Store(settings.store_url)


@pytest.fixture
def parent(http, database, store) -> str:
    """A job of 3 steps that has ended, with two checkpoints, the first the better one."""
    hold = running(http, database, steps=3)
    save(database, store, hold, 1, 0.9)
    save(database, store, hold, 3, 0.8)
    change_job(database, hold.job_id, step=3)
    end(database, hold)
    return hold.job_id


def fork(http, job_id: str, checkpoint="last", **overrides):
    return http.post(f"/v1/jobs/{job_id}/fork", json={"checkpoint": checkpoint, "overrides": overrides})


def beginning(database, job_id: str) -> Checkpoint:
    with database.read() as session:
        return session.scalars(sa.select(Checkpoint).where(Checkpoint.job_id == job_id)).one()


def test_a_fork_goes_on_from_the_checkpoint_with_the_changed_spec(http, database, parent):
    answer = fork(http, parent, steps=10, optimizer={"lr": 0.5}, norm={"momentum": 0.5})
    job = answer.json()
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/v1/jobs/{job['id']}")
    assert (job["status"], job["progress"]["step"], job["progress"]["steps"]) == ("queued", 3, 10)
    resolved = http.get(f"/v1/jobs/{parent}").json()["resolved"]
    assert job["resolved"] == resolved | {
        "steps": 10,
        "optimizer": resolved["optimizer"] | {"lr": 0.5},
        "norm": resolved["norm"] | {"momentum": 0.5},
    }
    own = beginning(database, job["id"])
    assert (own.attempt, own.step) == (0, 3)
    origin = job["origin"]
    assert (origin["kind"], origin["job"], origin["step"]) == ("fork", parent, 3)
    assert [kind for _, kind, _ in events_of(database, job["id"])][:2] == ["queued", "created_from"]
    assert http.get(f"/v1/jobs/{job['id']}/attempts").json()["data"] == []


@pytest.mark.parametrize(("which", "step"), [("last", 3), ("best", 1), (1, 1), (3, 3)])
def test_a_fork_takes_the_checkpoint_that_is_asked_for(http, database, parent, which, step):
    job = fork(http, parent, which, steps=10).json()
    assert job["origin"]["step"] == beginning(database, job["id"]).step == step


def test_the_files_of_a_fork_are_its_own(http, database, store, parent):
    job = fork(http, parent, steps=10).json()
    own = beginning(database, job["id"])
    with database.read() as session:
        files = checkpoints.trained_files(session, own.id)
        kept = {file.filename: store.get_verified(file.stored) for file in files}
        state = store.get_verified(checkpoints.state_file(own, files))
    assert http.delete(f"/v1/jobs/{parent}").status_code == 204
    with database.read() as session:
        assert {file.filename: store.get_verified(file.stored) for file in files} == kept
    assert store.get_verified(checkpoints.state_file(own, files)) == state
    change_job(database, job["id"], priority=0)
    assert http.post(f"/v1/jobs/{job['id']}/cancel").status_code == 202
    assert http.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert all(store.size(file.stored.key) is None for file in files)


def test_an_attempt_of_a_fork_begins_at_its_checkpoint_and_pruning_leaves_that(http, database, store, parent):
    job_id = fork(http, parent, steps=10).json()["id"]
    hold = claim(database, job_id)
    with database.read() as session:
        assert [each.step for each in checkpoints.resumable(session, job_id)] == [3]
    with database.write() as session:
        lease.start_from(session, hold, 3, 1, latest={}, best={})
        lease.begin(session, hold)
    for step in (5, 7):
        save(database, store, hold, step)
    with database.write() as session:
        checkpoints.prune(session, hold, 1, 0)
    with database.read() as session:
        assert [each.step for each in checkpoints.list_for(session, job_id)] == [7, 3]
    end(database, hold, fail)


REFUSED = {
    "another network": (
        {"architecture": {"hidden": [3]}, "steps": 9},
        "/overrides/architecture",
        "network_differs",
    ),
    "another norm": ({"norm": {"name": "layer"}, "steps": 9}, "/overrides/norm", "network_differs"),
    "a norm without scale": ({"norm": {"affine": False}, "steps": 9}, "/overrides/norm", "network_differs"),
    "another task": (
        {"dataset": {"name": "gaussian_linear"}, "task": None, "loss": None, "steps": 9},
        "/overrides/dataset",
        "network_differs",
    ),
    "no step left": ({"seed": 1}, "/overrides/steps", "no_steps_left"),
    "an unknown field": ({"optimizer": {"lrr": 1}}, "/overrides/optimizer/lrr", "extra_forbidden"),
    "a wrong value": ({"batch_size": 0}, "/overrides/batch_size", "greater_than_equal"),
    "steps and epochs": ({"steps": 9, "epochs": 2}, "/overrides/steps", "exactly_one"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_overrides_that_do_not_fit_are_refused_with_their_place(http, parent, case):
    overrides, pointer, code = REFUSED[case]
    (wrong,) = problem(fork(http, parent, **overrides), 422)["errors"]
    assert (wrong["pointer"], wrong["code"]) == (pointer, code)


def test_epochs_replace_the_steps(http, parent):
    job = fork(http, parent, epochs=2).json()
    assert job["resolved"]["steps"] == 2 * (job["resolved"]["steps"] // 2) > 3


def test_another_optimizer_leaves_nothing_of_the_old_one(http, parent):
    job = fork(http, parent, steps=9, optimizer={"name": "AdamW"}).json()
    assert job["resolved"]["optimizer"]["lr"] == 0.001


def test_a_checkpoint_that_is_not_there_is_refused_with_those_that_are(http, database, parent):
    assert "1, 3" in problem(fork(http, parent, 2, steps=9), 409)["detail"]
    queued = post(http)
    assert problem(fork(http, queued), 409)["code"] == "no_model_yet"
    assert problem(fork(http, parent, "newest"), 422)["errors"][0]["pointer"] == "/checkpoint"
    assert problem(http.post("/v1/jobs/job_01a1fd907b2e72ecae9d6e26b7746faa/fork"), 404)["code"] == "not_found"
    http.post(f"/v1/jobs/{queued}/cancel")


def test_a_fork_that_is_sent_twice_is_made_once_and_leaves_no_files(http, settings, parent):
    def files() -> int:
        return sum(path.is_file() for path in (settings.home / "store").rglob("*"))

    body, key = {"overrides": {"steps": 10}}, {"Idempotency-Key": f"fork-{parent}"}
    first = http.post(f"/v1/jobs/{parent}/fork", json=body, headers=key)
    before = files()
    again = http.post(f"/v1/jobs/{parent}/fork", json=body, headers=key)
    assert (again.content, again.headers["Idempotent-Replayed"], files()) == (first.content, "true", before)


def test_a_reproduction_has_the_stored_spec_and_what_its_weights_are_compared_with(http, database, parent):
    job = http.post(f"/v1/jobs/{parent}/reproduce").json()
    original = http.get(f"/v1/jobs/{parent}").json()
    assert (job["resolved"], job["spec_hash"]) == (original["resolved"], original["spec_hash"])
    model = http.get(f"/v1/jobs/{parent}/model")
    assert job["origin"] == {
        "kind": "reproduction",
        "job": parent,
        "step": 3,
        "expected_sha256": model.headers["ETag"].strip('"'),
    }
    with database.read() as session:
        assert session.scalars(sa.select(Attempt).where(Attempt.job_id == job["id"])).all() == []


def test_a_reproduction_of_a_fork_begins_where_the_fork_did(http, database, store, parent):
    hold = claim(database, fork(http, parent, steps=10).json()["id"])
    with database.write() as session:
        lease.start_from(session, hold, 3, 1, latest={}, best={})
        lease.begin(session, hold)
    save(database, store, hold, 10)
    change_job(database, hold.job_id, step=10)
    end(database, hold)
    job = http.post(f"/v1/jobs/{hold.job_id}/reproduce").json()
    assert (job["origin"]["kind"], beginning(database, job["id"]).step) == ("reproduction", 3)


def reproduced(http, database, store, parent: str, content: bytes | None) -> Job:
    """The reproduction at its end, with weights like those of the original or with `content`."""
    hold = claim(database, http.post(f"/v1/jobs/{parent}/reproduce").json()["id"])
    with database.write() as session:
        lease.start_from(session, hold, 0, 0, latest={}, best={})
        lease.begin(session, hold)
    save(database, store, hold, 3)
    with database.write() as session:
        weights = sa.select(Artifact.sha256).where(Artifact.job_id == parent, Artifact.step == 3)
        theirs = session.scalars(weights.where(Artifact.filename == "model.safetensors")).one()
        own = (Artifact.job_id == hold.job_id, Artifact.filename == "model.safetensors")
        session.execute(sa.update(Artifact).where(*own).values(sha256="f" * 64 if content else theirs))
        session.execute(sa.update(Job).where(Job.id == hold.job_id).values(environment={"torch": "other"}))
        origins.compare(session, hold)
    end(database, hold)
    return job_of(database, hold.job_id)


def test_the_end_of_a_reproduction_says_whether_the_weights_are_the_same(http, database, store, parent):
    same = reproduced(http, database, store, parent, None)
    assert same.origin["identical"] is True
    other = reproduced(http, database, store, parent, b"other")
    assert (other.origin["identical"], other.origin["sha256"]) == (False, "f" * 64)
    assert other.origin["differences"] == {"torch": [None, "other"]}
    assert "reproduced" in [kind for _, kind, _ in events_of(database, other.id)]
    assert http.get(f"/v1/jobs/{other.id}").json()["origin"] == other.origin


def test_only_what_has_succeeded_is_reproduced(http, database):
    hold: Hold = running(http, database)
    refused = problem(http.post(f"/v1/jobs/{hold.job_id}/reproduce"), 409)
    assert refused["allowed"] == ["succeeded"]
    end(database, hold, fail)
    assert problem(http.post(f"/v1/jobs/{hold.job_id}/reproduce"), 409)["allowed"] == ["succeeded"]
