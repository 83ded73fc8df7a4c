"""Files over HTTP, and what is said of one that the store has no more."""

import pytest

from db import checkpoints, lease
from db.checkpoints import ModelFile
from db.store import Store
from tests.api.test_bad_input import SPEC


@pytest.fixture
def saved(http, database, settings):
    """A stored model, and the address of its content."""
    http.post("/v1/jobs", json=SPEC)
    store = Store(settings.store_url)
    with database.write() as session:
        hold = lease.claim(session, "test", 60)
    state, weights = (store.put(f"{hold.job_id}/{name}", name.encode()) for name in ("state.pt", "weights"))
    model = ModelFile(format="safetensors", filename="model.safetensors", stored=weights)
    with database.write() as session:
        checkpoints.commit(session, hold, 1, state, [model])
    yield store, weights, f"/v1/jobs/{hold.job_id}/model"
    with database.write() as session:
        lease.cancelled(session, hold)


def test_a_file_comes_whole_or_in_part_with_its_hash(http, saved):
    _, weights, address = saved
    whole = http.get(address)
    assert (whole.status_code, whole.content) == (200, b"weights")
    assert whole.headers["ETag"] == f'"{weights.sha256}"'
    part = http.get(address, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["Content-Range"]) == (206, b"igh", "bytes 2-4/7")
    assert http.get(address, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304


def test_a_file_that_the_store_lost_is_gone_and_said_so(http, saved):
    store, weights, address = saved
    store.delete([weights.key])
    answer = http.get(address)
    assert answer.status_code == 410
    problem = answer.json()
    assert problem["code"] == "file_missing"
    assert "store" in problem["detail"]
    assert weights.key not in answer.text
