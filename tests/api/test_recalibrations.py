"""Asking for a recalibration: what is refused, what is answered, and what a client sees of a pending file."""

import json

import numpy as np
import pytest

from db import afterwork, checkpoints, commands, lease
from db.checkpoints import ModelFile
from db.lease import Failure, Hold
from db.status import FailureCode
from db.store import Store
from tests.api.test_bad_input import SPEC, problem
from tests.db.support import change_job, state_of

BATCH = {**SPEC, "norm": {"name": "batch"}}
#: (2, 1, 8, 8), the shape of digits.
INPUTS = np.arange(128).reshape(2, 1, 8, 8).astype(float) % 17


def claim_job(database, job_id: str) -> Hold:
    """Of the jobs that wait, this one."""
    change_job(database, job_id, priority=1)
    with database.write() as session:
        hold = lease.claim(session, "test", 60)
    assert hold.job_id == job_id
    return hold


@pytest.fixture
def store(settings) -> Store:
    return Store(settings.store_url)


@pytest.fixture
def ended(http, database, store):
    """Makes a job of the past, with a checkpoint or without."""

    def make(spec=BATCH, *, saved: bool = True) -> str:
        job_id = http.post("/v1/jobs", json=spec).json()["id"]
        hold = claim_job(database, job_id)
        if saved:
            state, weights = (store.put(f"{job_id}/{name}", name.encode()) for name in ("state.pt", "weights"))
            model = ModelFile(format="safetensors", filename="model.safetensors", stored=weights)
            with database.write() as session:
                checkpoints.commit(session, hold, state_of(hold, 1, state=state, files=[model]))
        with database.write() as session:
            lease.begin(session, hold)
            lease.succeed(session, hold)
        return job_id

    return make


@pytest.fixture
def claim(database):
    """Takes the pending files of earlier tests out of the way, and gives the hold of the newest."""

    def take(artifact_id: str):
        while True:
            with database.write() as session:
                hold = afterwork.claim(session, 60)
            if hold.artifact_id == artifact_id:
                return hold

    return take


def ask(http, job_id: str, body=None, status: int = 202):
    answer = http.post(f"/v1/jobs/{job_id}/recalibrate", json=body or {})
    assert answer.status_code == status, answer.text
    return answer


def test_the_answer_is_a_pending_file_with_every_default(http, ended):
    job_id = ended()
    answer = ask(http, job_id)
    artifact = answer.json()
    assert answer.headers["Location"] == f"/v1/artifacts/{artifact['id']}"
    assert answer.headers["Retry-After"] == "2"
    assert (artifact["status"], artifact["source"], artifact["job_id"]) == ("pending", "recalibration", job_id)
    assert artifact["request"] == {
        "mode": "sequential",
        "samples": 10_000,
        "batch_size": None,
        "weights": "raw",
        "data": {"source": "train"},
    }
    assert artifact["warnings"] == []
    assert artifact["sha256"] is artifact["size_bytes"] is artifact["result"] is artifact["failure"] is None
    assert http.get(answer.headers["Location"]).json() == artifact
    assert artifact in http.get(f"/v1/jobs/{job_id}/artifacts").json()["data"]


def test_no_body_is_the_same_as_an_empty_one(http, ended):
    answer = http.post(f"/v1/jobs/{ended()}/recalibrate")
    assert answer.status_code == 202
    assert answer.json()["request"]["mode"] == "sequential"


def test_every_request_makes_a_file_of_its_own(http, ended):
    job_id = ended()
    assert ask(http, job_id).json()["id"] != ask(http, job_id).json()["id"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_pending_file_has_no_content_yet(http, ended, method):
    artifact = ask(http, ended()).json()
    answer = http.request(method, f"/v1/artifacts/{artifact['id']}/content")
    assert (answer.status_code, answer.headers["Retry-After"]) == (409, "2")
    if method == "GET":
        assert problem(answer, 409)["code"] == "artifact_pending"


def test_a_file_that_could_not_be_made_says_why(http, ended, claim, database):
    job_id = ended()
    artifact = ask(http, job_id).json()
    hold = claim(artifact["id"])
    failure = Failure(code=FailureCode.DATA_ERROR, message="no data", hint="bring some")
    with database.write() as session:
        afterwork.fail(session, hold, failure)
    known = http.get(f"/v1/artifacts/{artifact['id']}").json()
    assert known["status"] == "failed"
    assert known["failure"] == {"code": "data_error", "message": "no data", "hint": "bring some"}
    refused = http.get(f"/v1/artifacts/{artifact['id']}/content")
    assert problem(refused, 409)["code"] == "artifact_failed"
    assert "Retry-After" not in refused.headers


def test_the_model_with_population_statistics_is_the_recalibrated_file(http, ended, claim, database, store):
    job_id = ended()
    address = f"/v1/jobs/{job_id}/model"
    missing = problem(http.get(address, params={"statistics": "precise"}), 409)
    assert missing["code"] == "not_recalibrated_yet"
    assert f"POST /v1/jobs/{job_id}/recalibrate" in missing["detail"]
    artifact = ask(http, job_id).json()
    waiting = http.get(address, params={"statistics": "precise"})
    assert (problem(waiting, 409)["code"], waiting.headers["Retry-After"]) == ("artifact_pending", "2")
    stored = store.put(f"made/{artifact['id']}", b"recalibrated")
    hold = claim(artifact["id"])
    with database.write() as session:
        afterwork.finish(session, hold, stored, {"samples": 5})
    made = http.get(address, params={"statistics": "precise"})
    assert (made.content, made.headers["ETag"]) == (b"recalibrated", f'"{stored.sha256}"')
    assert "model-recalibrated-1.safetensors" in made.headers["Content-Disposition"]
    assert http.get(address).content == http.get(address, params={"statistics": "running"}).content == b"weights"


def test_a_live_job_is_not_recalibrated(http, database):
    job_id = http.post("/v1/jobs", json=BATCH).json()["id"]
    final = ["succeeded", "failed", "cancelled"]
    assert problem(ask(http, job_id, status=409), 409)["allowed"] == final
    hold = claim_job(database, job_id)
    refused = problem(ask(http, job_id, status=409), 409)
    assert (refused["code"], refused["allowed"]) == ("transition_refused", final)
    with database.write() as session:
        commands.cancel(session, job_id)
        lease.cancelled(session, hold)


@pytest.mark.parametrize(
    ("spec", "saved", "code"),
    [
        (BATCH, False, "no_model_yet"),
        (SPEC, True, "nothing_to_recalibrate"),
        ({**SPEC, "norm": {"name": "layer"}}, True, "nothing_to_recalibrate"),
        ({**SPEC, "norm": {"name": "frozen_batch"}}, True, "nothing_to_recalibrate"),
        ({**SPEC, "norm": {"name": "batch", "track": False}}, True, "nothing_to_recalibrate"),
    ],
)
def test_a_job_with_nothing_to_recalibrate_says_why(http, ended, spec, saved, code):
    assert problem(ask(http, ended(spec, saved=saved), status=409), 409)["code"] == code


def test_an_unknown_job_is_not_found(http):
    assert problem(ask(http, "job_" + "0" * 32, status=404), 404)["code"] == "not_found"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"mode": "exact"}, "/mode"),
        ({"samples": 1}, "/samples"),
        ({"samples": 10.5}, "/samples"),
        ({"batch_size": 1}, "/batch_size"),
        ({"batch_size": 10**6}, "/batch_size"),
        ({"weights": "average"}, "/weights"),
        ({"date": {}}, "/date"),
        ({"data": {"source": "web"}}, "/data/source"),
        ({"data": {"source": "inputs"}}, "/data/inputs"),
        ({"data": {"source": "train", "inputs": INPUTS.tolist()}}, "/data/source"),
        ({"data": {"inputs": INPUTS.tolist()}}, "/data/source"),
        ({"data": {"source": "inputs", "inputs": INPUTS[:1].tolist()}}, "/data/inputs"),
        ({"data": {"source": "inputs", "inputs": "digits"}}, "/data/inputs"),
        ({"data": {"source": "inputs", "inputs": [1, 2]}}, "/data/inputs/0"),
        ({"data": {"source": "inputs", "inputs": INPUTS[:, 0].tolist()}}, "/data/inputs/0"),
        ({"data": {"source": "inputs", "inputs": INPUTS[..., :7].tolist()}}, "/data/inputs/0/0/0"),
        ([], ""),
    ],
    ids=str,
)
def test_a_wrong_body_is_refused_with_the_place(http, ended, body, pointer):
    document = problem(http.post(f"/v1/jobs/{ended()}/recalibrate", json=body), 422)
    assert pointer in [error["pointer"] for error in document["errors"]]


@pytest.mark.parametrize("value", [-0.5, 16.5, 1e38, True, None, "1", [1], {}], ids=str)
def test_a_value_that_is_no_raw_value_is_refused_with_its_place(http, ended, store, value):
    inputs = INPUTS.tolist()
    inputs[1][0][7][3] = value
    answer = ask(http, ended(), {"data": {"source": "inputs", "inputs": inputs}}, status=422)
    (error,) = problem(answer, 422)["errors"]
    assert error["pointer"] == "/data/inputs/1/0/7/3"
    assert "at least 0, at most 16" in error["allowed"]


@pytest.mark.parametrize(
    "text", ["NaN", "1, NaN", "Infinity", "1, -Infinity", "1e400", str(2**63), "9" * 400, "[" * 40 + "]" * 40]
)
def test_what_json_does_not_have_is_refused_and_no_fault(http, ended, text):
    body = f'{{"data": {{"source": "inputs", "inputs": [{text}, {text}]}}}}'
    headers = {"Content-Type": "application/json"}
    answer = http.post(f"/v1/jobs/{ended()}/recalibrate", content=body, headers=headers)
    assert problem(answer, 422)["errors"][0]["pointer"].startswith("/data/inputs")


def test_a_body_of_another_type_is_refused(http, ended):
    headers = {"Content-Type": "text/plain"}
    answer = http.post(f"/v1/jobs/{ended()}/recalibrate", content="{}", headers=headers)
    assert problem(answer, 415)["code"] == "not_json"


def repeated(body_bytes: int) -> bytes:
    """A body with a sample so many times that it is about so large."""
    samples = body_bytes // len(str(INPUTS[0].tolist()))
    inputs = np.repeat(INPUTS[:1], samples, axis=0).tolist()
    return json.dumps({"data": {"source": "inputs", "inputs": inputs}}).encode()


def in_pieces(body: bytes):
    return (body[at : at + 65536] for at in range(0, len(body), 65536))


@pytest.mark.parametrize("sent", [bytes, in_pieces], ids=["whole", "in pieces"])
def test_a_body_with_inputs_may_be_larger_than_others(http, ended, settings, sent):
    body = repeated(2 * settings.max_body_bytes)
    headers = {"Content-Type": "application/json"}
    answer = http.post(f"/v1/jobs/{ended()}/recalibrate", content=sent(body), headers=headers)
    assert answer.status_code == 202, answer.text
    refused = http.post("/v1/jobs", content=sent(body), headers=headers)
    assert problem(refused, 413)["code"] == "body_too_large"


@pytest.mark.parametrize("sent", [bytes, in_pieces], ids=["whole", "in pieces"])
def test_too_many_inputs_are_too_large_a_body(http, ended, settings, sent):
    body = b" " * (settings.max_inputs_bytes + 1)
    headers = {"Content-Type": "application/json"}
    answer = http.post(f"/v1/jobs/{ended()}/recalibrate", content=sent(body), headers=headers)
    assert problem(answer, 413)["code"] == "body_too_large"


@pytest.mark.parametrize(("source", "others"), [("test", ["train", "inputs"]), ("train", ["test", "inputs"])])
def test_one_sample_is_too_few(http, ended, source, others):
    # A single training sample, too, has several values of a channel behind a convolution.
    network = {"architecture": {"name": "cnn", "channels": [2]}, "batch_size": 1 if source == "train" else 2}
    job_id = ended({**BATCH, **network, "dataset": {"name": "digits", f"{source}_limit": 1}})
    (error,) = problem(ask(http, job_id, {"data": {"source": source}}, status=422), 422)["errors"]
    assert (error["pointer"], error["code"], error["allowed"]) == ("/data/source", "one_sample", others)
    assert f"dataset.{source}_limit" in error["message"]
    ask(http, job_id, {"data": {"source": others[0]}})
    ask(http, job_id, {"data": {"source": "inputs", "inputs": INPUTS.tolist()}})


def test_own_inputs_wait_in_the_store_and_not_in_the_row(http, ended, database, store):
    body = {"data": {"source": "inputs", "inputs": INPUTS.tolist()}}
    artifact = ask(http, ended(), body).json()
    assert artifact["request"]["data"] == {"source": "inputs"}
    assert {warning["code"] for warning in artifact["warnings"]} == {"adapted_to_inputs", "few_samples"}
    assert "inputs_key" not in artifact
    with database.read() as session:
        key = checkpoints.artifact(session, artifact["id"]).inputs_key
    assert store.get(key).startswith(b"\x93NUMPY")


def test_test_data_are_taken_with_a_warning(http, ended):
    artifact = ask(http, ended(), {"data": {"source": "test"}}).json()
    assert artifact["warnings"][-1]["code"] == "test_data_used"
    assert "unseen" in artifact["warnings"][-1]["message"]


def test_inputs_that_are_no_pixels_may_be_any_number(http, ended):
    job_id = ended({**BATCH, "dataset": {"name": "gaussian_linear"}})
    inputs = np.linspace(-300, 300, 20).reshape(2, 10, 1, 1).tolist()
    ask(http, job_id, {"data": {"source": "inputs", "inputs": inputs}})
    inputs[1][3][0][0] = 1e39
    answer = ask(http, job_id, {"data": {"source": "inputs", "inputs": inputs}}, status=422)
    assert problem(answer, 422)["errors"][0]["pointer"] == "/data/inputs/1/3/0/0"
