"""A trained model gets population statistics, over HTTP, on a service that runs for real."""

import hashlib

import pytest

from tests.e2e.test_models import accuracy_without_normlab
from tests.services import wait_for
from worker.data.sources import _load_digits

pytestmark = pytest.mark.e2e

#: Running averages that lag far behind: the model is good in train mode and bad in eval mode.
LAGGING = {
    "architecture": {"name": "mlp", "hidden": [32, 32], "activation": "sigmoid"},
    "norm": {"name": "batch", "momentum": 0.001},
    "steps": 400,
}


def recalibrated(client, job_id, **body):
    """The file once it is there or has failed."""
    answer = client.http.post(f"/v1/jobs/{job_id}/recalibrate", json=body)
    assert (answer.status_code, answer.json()["status"]) == (202, "pending"), answer.text

    def ended():
        artifact = client.get(answer.headers["Location"])
        return artifact if artifact["status"] != "pending" else None

    return wait_for(ended, timeout=60, every=0.1)


def test_a_recalibrated_model_is_the_good_one_without_normlab(client, tmp_path):
    job = client.run(**LAGGING)
    artifact = recalibrated(client, job["id"])
    assert artifact["status"] == "ready", artifact["failure"]
    before, after = artifact["result"]["before"], artifact["result"]["after"]
    assert before["test/accuracy"] == job["latest"]["test/accuracy"]["value"] < 0.5
    assert after["test/accuracy"] > 0.9
    assert artifact["result"]["drift"]["norm2"]["delta"] > 0.2
    content = client.http.get(f"/v1/artifacts/{artifact['id']}/content")
    assert hashlib.sha256(content.content).hexdigest() == artifact["sha256"]
    assert content.headers["ETag"] == f'"{artifact["sha256"]}"'
    assert int(content.headers["Content-Length"]) == artifact["size_bytes"]
    digits = _load_digits()
    model = {"statistics": "precise"}
    measured = accuracy_without_normlab(
        client, job["id"], tmp_path, digits.test_inputs, digits.test_targets, **model
    )
    assert measured == after["test/accuracy"]
    assert (tmp_path / "model.safetensors").read_bytes() == content.content


def test_equal_requests_give_equal_files_whoever_makes_them(client):
    job = client.run(**LAGGING)
    body = {"mode": "batch", "samples": 500, "data": {"source": "test"}}
    first, second = (recalibrated(client, job["id"], **body) for _ in range(2))
    assert first["id"] != second["id"]
    assert first["sha256"] == second["sha256"] is not None
    assert [warning["code"] for warning in first["warnings"]] == ["few_samples", "test_data_used"]


def test_a_model_is_adapted_to_inputs_of_ones_own(client):
    job = client.run(**LAGGING)
    inputs = (_load_digits().test_inputs[:100] * 0.25).tolist()
    artifact = recalibrated(client, job["id"], data={"source": "inputs", "inputs": inputs})
    assert artifact["status"] == "ready", artifact["failure"]
    assert artifact["result"]["samples"] == 100
    assert client.http.get(f"/v1/jobs/{job['id']}/model?statistics=precise").status_code == 409


def test_averaged_weights_are_recalibrated_too(client):
    job = client.run(norm={"name": "batch"}, steps=300, ema={"decay": 0.9, "use_buffers": False})
    artifact = recalibrated(client, job["id"], weights="ema")
    assert artifact["status"] == "ready", artifact["failure"]
    model = client.http.get(f"/v1/jobs/{job['id']}/model?statistics=precise&weights=ema")
    assert model.headers["ETag"] == f'"{artifact["sha256"]}"'
    assert artifact["result"]["before"]["test/accuracy"] == job["latest"]["ema/test/accuracy"]["value"]
