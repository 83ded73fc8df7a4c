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


def test_averaged_weights_of_a_job_that_has_none_are_refused_with_the_reason(http, saved):
    *_, address = saved
    answer = http.get(address, params={"weights": "ema"})
    assert (answer.status_code, answer.json()["code"]) == (409, "no_averaged_weights")
    assert "`ema`" in answer.json()["detail"]
    assert http.get(address, params={"weights": "raw"}).content == b"weights"
    assert http.get(address, params={"weights": "mean"}).status_code == 422


def test_averaged_weights_are_a_file_beside_the_others(http, database, saved):
    store, _, address = saved
    job_id = address.split("/")[3]
    state, *files = (store.put(f"{job_id}/second/{name}", name.encode()) for name in ("state", "raw", "ema"))
    models = [
        ModelFile(format="safetensors", filename=name, stored=file)
        for name, file in zip(("model.safetensors", "model-ema.safetensors"), files, strict=True)
    ]
    with database.write() as session:
        checkpoints.commit(session, lease.Hold(job_id=job_id, attempt=1), 2, state, models)
    assert http.get(address).content == b"raw"
    assert http.get(address, params={"weights": "ema"}).content == b"ema"
