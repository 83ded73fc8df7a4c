"""A deleted job leaves nothing: no row, no file, and nothing that was never named."""

import os
import time
from pathlib import Path

import httpx2
import pytest

from db import afterwork, lease
from db.store import PART_BYTES, Store
from db.tables import Artifact
from tests.api.jobs import end, fail, post, running, save
from tests.api.test_bad_input import problem
from tests.db.support import statements
from worker import orphans

INPUTS = [[[[float(row)] * 8 for row in range(8)]]] * 2


@pytest.fixture
def store(settings) -> Store:
    return Store(settings.store_url)


@pytest.fixture
def folder(settings) -> Path:
    return settings.home / "store"


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def ended(http, database, store, how=lease.succeed) -> str:
    """A job that has ended, with two checkpoints."""
    hold = running(http, database)
    for step in (1, 2):
        save(database, store, hold, step)
    end(database, hold, how)
    return hold.job_id


def age(folder: Path, seconds: float) -> None:
    """Let time pass for all files."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - seconds,) * 2)


def recalibrate(http, database, store, job_id: str) -> None:
    """A recalibrated model that is made, and one whose inputs still wait."""
    assert http.post(f"/v1/jobs/{job_id}/recalibrate").status_code == 202
    with database.write() as session:
        hold = afterwork.claim(session, 60)
    made = store.put(f"recalibrations/{hold.artifact_id}/attempt-1/model.safetensors", b"made")
    with database.write() as session:
        afterwork.finish(session, hold, made, {})
    body = {"data": {"source": "inputs", "inputs": INPUTS}}
    assert http.post(f"/v1/jobs/{job_id}/recalibrate", json=body).status_code == 202


@pytest.mark.parametrize("how", [lease.succeed, fail], ids=["succeeded", "failed"])
def test_a_deleted_job_frees_the_disk_and_is_found_no_more(http, database, store, folder, how):
    other = ended(http, database, store)
    before = files(folder)
    job_id = ended(http, database, store, how)
    recalibrate(http, database, store, job_id)
    added = files(folder) - before
    assert {name.split("/")[0] for name in added} == {"jobs", "recalibrations", "inputs"}
    answer = http.delete(f"/v1/jobs/{job_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert files(folder) == before
    for path in ("", "/events", "/checkpoints", "/model", "/attempts"):
        problem(http.get(f"/v1/jobs/{job_id}{path}"), 404)
    problem(http.delete(f"/v1/jobs/{job_id}"), 404)
    assert http.get(f"/v1/jobs/{other}/model").status_code == 200


def test_a_job_that_has_not_ended_cannot_be_deleted(http, database, store, folder):
    hold = running(http, database)
    save(database, store, hold, 1)
    before = files(folder)
    document = problem(http.delete(f"/v1/jobs/{hold.job_id}"), 409)
    assert document["allowed"] == ["succeeded", "failed", "cancelled"]
    assert files(folder) == before
    assert http.get(f"/v1/jobs/{hold.job_id}").json()["status"] == "running"
    problem(http.delete(f"/v1/jobs/{post(http)}"), 409)


def test_a_download_that_is_under_way_is_not_cut(http, database, store, server):
    job_id = ended(http, database, store)
    artifact = http.get(f"/v1/jobs/{job_id}/artifacts").json()["data"][0]
    content = os.urandom(40 * PART_BYTES)
    with database.write() as session:
        row = session.get_one(Artifact, artifact["id"])
        large = store.put(row.store_key, content)
        row.sha256, row.size_bytes = large.sha256, large.size_bytes
    with (
        httpx2.Client(base_url=server, timeout=30) as other,
        other.stream("GET", f"/v1/artifacts/{artifact['id']}/content") as answer,
    ):
        parts = answer.iter_raw(PART_BYTES)
        received = next(parts)
        assert http.delete(f"/v1/jobs/{job_id}").status_code == 204
        assert store.size(large.key) is None
        received += b"".join(parts)
    assert received == content


def test_files_that_no_row_names_are_swept_once_they_are_old(http, database, store, folder):
    job_id = ended(http, database, store)
    recalibrate(http, database, store, job_id)
    hold = running(http, database)
    keep = files(folder)
    orphaned = [
        f"jobs/{hold.job_id}/attempt-1/step-9/state.pt",
        "jobs/job_" + "0" * 32 + "/attempt-1/step-1/model.safetensors",
        "recalibrations/art_" + "0" * 32 + "/attempt-1/model.safetensors",
        "inputs/in_" + "0" * 32 + ".npy",
    ]
    for key in orphaned:
        store.put(key, b"orphan")
    (folder / "jobs" / hold.job_id / ".tmp-unfinished").write_bytes(b"half")
    (folder / "else").mkdir(exist_ok=True)
    (folder / "else" / "file").write_bytes(b"not ours")
    everything = files(folder)
    age(folder, orphans.OLD_SECONDS - 60)
    assert orphans.sweep(database, store) == 0, "a running attempt may be about to commit them"
    assert files(folder) == everything | {orphans.OWNER}
    age(folder, orphans.OLD_SECONDS + 60)
    orphans.sweep(database, store)
    gone = everything - files(folder)
    assert gone >= {*orphaned, f"jobs/{hold.job_id}/.tmp-unfinished"}
    assert "else/file" not in gone
    assert orphans.sweep(database, store) == 0
    assert {name for name in keep if job_id in name} <= files(folder)
    assert {name for name in keep if name.startswith(("recalibrations/", "inputs/"))} & gone == set()


def test_a_large_store_is_swept_in_few_queries(http, database, store, folder):
    for number in range(600):
        path = folder / "recalibrations" / f"art_{number}" / "model.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    age(folder, orphans.OLD_SECONDS + 60)
    with statements(database) as sent:
        assert orphans.sweep(database, store) >= 600
    assert len(sent) <= 30
