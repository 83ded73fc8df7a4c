"""Files over HTTP, and what is said of one that the store has no more."""

import pytest

from db import checkpoints, lease
from db.checkpoints import ModelFile
from db.store import Store
from tests.api.test_bad_input import SPEC
from tests.db.support import state_of


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
        checkpoints.commit(session, hold, state_of(hold, 1, state=state, files=[model]))
    yield store, weights, f"/v1/jobs/{hold.job_id}/model"
    with database.write() as session:
        lease.begin(session, hold)
        lease.succeed(session, hold)


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


@pytest.mark.parametrize("content", [b"weight", b"weights+", b"weighty", b""])
def test_a_file_that_is_not_what_was_saved_is_never_served_as_whole(http, saved, caplog, content):
    store, weights, address = saved
    store.put(weights.key, content)
    answer = http.get(address)
    assert answer.status_code == 410
    assert answer.json()["code"] == "file_damaged"
    assert weights.key not in answer.text
    assert weights.key in caplog.text
    # Of a part only the length of the whole is known, as it is of the headers.
    served = (206, 200) if len(content) == weights.size_bytes else (410, 410)
    part = http.get(address, headers={"Range": "bytes=2-4"})
    assert (part.status_code, http.head(address).status_code) == served
    store.put(weights.key, b"weights")
    assert http.get(address).content == b"weights"


def test_a_store_that_cannot_be_used_is_a_matter_of_time(http, saved, settings):
    store, weights, address = saved
    path = settings.home / "store" / weights.key
    store.delete([weights.key])
    # A folder above the file is a link to itself.
    path.parent.rename(path.parent.with_name("aside"))
    path.parent.symlink_to(path.parent)
    try:
        answer = http.get(address)
    finally:
        path.parent.unlink()
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_failed")
    assert int(answer.headers["Retry-After"]) > 0
    assert str(settings.home) not in answer.text


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
    hold = lease.Hold(job_id=job_id, attempt=1)
    with database.write() as session:
        checkpoints.commit(session, hold, state_of(hold, 2, state=state, files=models))
    assert http.get(address).content == b"raw"
    assert http.get(address, params={"weights": "ema"}).content == b"ema"
