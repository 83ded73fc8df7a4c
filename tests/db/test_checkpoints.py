"""Checkpoints and their files."""

import pytest

from db import checkpoints, jobs, lease
from db.checkpoints import ModelFile
from db.errors import FileMissing, NoModelYet, NotFound
from db.lease import Hold
from db.store import Store
from tests.db.support import claim, commit, contents, events_of, job_of, running_job


@pytest.fixture
def store(tmp_path) -> Store:
    return Store((tmp_path / "store").as_uri())


def save(database, store: Store, hold: Hold, step: int) -> str:
    folder = f"jobs/{hold.job_id}/attempt-{hold.attempt}/step-{step}"
    files = [
        ModelFile(format=format, filename=filename, stored=store.put(f"{folder}/{filename}", filename.encode()))
        for format, filename in (("safetensors", "model.safetensors"), ("config", "config.json"))
    ]
    state = store.put(f"{folder}/state.pt", b"state")
    return commit(database, hold, step, state=state, files=files)


def steps(database, job_id: str) -> list[tuple[int, int]]:
    with database.read() as session:
        return [(each.attempt, each.step) for each in checkpoints.list_for(session, job_id)]


def test_a_commit_leaves_a_checkpoint_its_artifacts_and_an_event(database, store):
    hold = running_job(database)
    checkpoint_id = save(database, store, hold, 5)
    with database.read() as session:
        (checkpoint,) = checkpoints.list_for(session, hold.job_id)
        files = {file.format: file for file in checkpoints.artifacts(session, hold.job_id)}
    assert (checkpoint.id, checkpoint.attempt, checkpoint.step) == (checkpoint_id, 1, 5)
    assert set(files) == {"safetensors", "config"}
    assert {file.step for file in files.values()} == {5}
    assert files["config"].media_type == "application/json"
    assert store.get(files["safetensors"].store_key) == b"model.safetensors"
    assert store.get(checkpoint.state_key) == b"state"
    assert checkpoint.size_bytes == len(b"state" + b"model.safetensors" + b"config.json")
    assert events_of(database, hold.job_id)[-1][1] == "checkpoint"


def test_the_model_is_that_of_the_newest_checkpoint(database, store):
    hold = running_job(database)
    for step in (9, 100, 20):
        save(database, store, hold, step)
    job = job_of(database, hold.job_id)
    with database.read() as session:
        assert checkpoints.model(session, job, "safetensors").step == 100
        assert checkpoints.model(session, job, "config").filename == "config.json"
        found = checkpoints.model(session, job, "safetensors")
        assert checkpoints.artifact(session, found.id).store_key == found.store_key


def test_the_model_of_a_later_attempt_comes_before_an_earlier_ones_further_step(database, store):
    first = running_job(database)
    save(database, store, first, 900)
    with database.write() as session:
        lease.release(session, first)
    second = claim(database)
    save(database, store, second, 10)
    assert steps(database, first.job_id) == [(2, 10), (1, 900)]
    with database.read() as session:
        assert checkpoints.model(session, jobs.get(session, first.job_id), "safetensors").step == 10


def test_a_job_without_a_checkpoint_has_no_model(database):
    hold = running_job(database)
    with database.read() as session, pytest.raises(NoModelYet, match="running"):
        checkpoints.model(session, jobs.get(session, hold.job_id), "safetensors")


@pytest.mark.parametrize("artifact_id", ["art_none", "", "art_" + "0" * 32])
def test_a_file_that_is_not_there_is_not_found(database, artifact_id):
    with database.read() as session, pytest.raises(NotFound):
        checkpoints.artifact(session, artifact_id)


@pytest.mark.parametrize("keep", [1, 2, 3, 4])
def test_prune_forgets_all_but_the_newest_and_names_their_files(database, store, keep):
    hold = running_job(database)
    for step in (1, 2, 3):
        save(database, store, hold, step)
    with database.write() as session:
        keys = checkpoints.prune(session, hold, keep, 0)
    assert steps(database, hold.job_id) == [(1, step) for step in (3, 2, 1)[:keep]]
    folder = f"jobs/{hold.job_id}/attempt-1"
    gone = [f"{folder}/step-{step}" for step in (1, 2, 3)[: max(0, 3 - keep)]]
    files = ("model.safetensors", "config.json", "state.pt")
    assert sorted(keys) == sorted(f"{step}/{file}" for step in gone for file in files)
    left = repr(contents(database)["artifacts"]) + repr(contents(database)["checkpoints"])
    assert not any(key in left for key in keys)


def test_prune_keeps_the_checkpoints_of_other_jobs(database, store):
    hold, other = running_job(database), running_job(database)
    for step in (1, 2):
        save(database, store, hold, step)
        save(database, store, other, step)
    with database.write() as session:
        checkpoints.prune(session, hold, 1, 0)
    assert steps(database, other.job_id) == [(1, 2), (1, 1)]


def test_a_file_of_the_store_appears_whole_and_is_gone_when_deleted(store, tmp_path):
    stored = store.put("a/b/c.bin", b"0123456789")
    assert stored.size_bytes == 10
    assert stored.sha256 == "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"
    assert store.get("a/b/c.bin") == b"0123456789"
    store.check()
    store.delete(["a/b/c.bin"])
    store.delete([])
    with pytest.raises(FileMissing):
        store.get("a/b/c.bin")
