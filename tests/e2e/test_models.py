"""The model that comes back: whole, verified, and usable without normlab."""

import hashlib
import json
import re
import subprocess
import sys

import pytest

from tests.e2e.client import PAPER
from tests.services import ROOT, wait_for

pytestmark = pytest.mark.e2e

#: Isolated mode takes nothing from the current folder, and so nothing of this checkout.
FROM_HERE = "import sys; sys.path.insert(0, '')\n"
#: Runs after the README's loader, in a process of its own: accuracy on data that is read anew.
MEASURE = """
import json, numpy as np, pathlib, torch
config = json.loads(pathlib.Path("config.json").read_text())
inputs, targets = np.load("inputs.npy"), np.load("targets.npy")
spec = config["input"]
inputs = inputs >= spec["threshold"] if spec["threshold"] else inputs / spec["largest_value"]
with torch.no_grad():
    logits = model(torch.tensor(inputs, dtype=torch.float32))
print((logits.argmax(1) == torch.tensor(targets)).sum().item() / len(targets))
ours = {"api", "worker", "models", "db", "pydantic"} & {name.split(".")[0] for name in sys.modules}
assert not ours, ours
"""


def readme_loader() -> str:
    """The README's lines that load a model without normlab."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    return next(block for block in blocks if "load_model" in block)


def accuracy_without_normlab(client, job_id, folder, inputs, targets, **query) -> float:
    import numpy as np

    files = {"model.safetensors": "safetensors", "config.json": "config", "modeling.py": "modeling"}
    for name, form in files.items():
        answer = client.http.get(f"/v1/jobs/{job_id}/model", params={"format": form, **query})
        assert hashlib.sha256(answer.content).hexdigest() == answer.headers["ETag"].strip('"')
        (folder / name).write_bytes(answer.content)
    np.save(folder / "inputs.npy", inputs)
    np.save(folder / "targets.npy", targets)
    script = FROM_HERE + readme_loader() + MEASURE
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", script], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_the_model_gives_its_accuracy_on_digits_in_plain_torch(client, tmp_path, norm):
    from worker.data.sources import _load_digits

    digits = _load_digits()
    job = client.run(norm={"name": norm}, steps=300)
    measured = accuracy_without_normlab(client, job["id"], tmp_path, digits.test_inputs, digits.test_targets)
    assert measured == job["latest"]["test/accuracy"]["value"]


@pytest.mark.parametrize("service", ["embedded"], indirect=True)  # long, and the same on both
def test_the_model_gives_its_accuracy_on_mnist_in_plain_torch(client, tmp_path, data_dir):
    import io

    import numpy as np
    import pyarrow.parquet as parquet
    from PIL import Image

    (file,) = (data_dir / "mnist").glob("**/test-*.parquet")
    rows = parquet.read_table(file).to_pylist()
    inputs = np.stack([np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))) for row in rows])[:, None]
    targets = np.array([row["label"] for row in rows])
    job = client.run(PAPER, norm={"name": "batch"}, steps=1000)
    measured = accuracy_without_normlab(client, job["id"], tmp_path, inputs, targets)
    assert measured == job["latest"]["test/accuracy"]["value"]


def test_a_download_in_three_pieces_has_the_sha256_of_the_etag(client):
    job = client.run()
    files = client.get(f"/v1/jobs/{job['id']}/artifacts")["data"]
    artifact = next(file for file in files if file["filename"] == "model.safetensors")
    address = f"/v1/artifacts/{artifact['id']}/content"
    head = client.http.head(address)
    size = int(head.headers["Content-Length"])
    assert (head.status_code, head.content, size) == (200, b"", artifact["size_bytes"])
    assert head.headers["ETag"] == f'"{artifact["sha256"]}"'
    third = size // 3
    pieces = []
    for asked in (f"bytes=0-{third - 1}", f"bytes={third}-{2 * third}", f"bytes={2 * third + 1}-"):
        piece = client.http.get(address, headers={"Range": asked, "If-Range": head.headers["ETag"]})
        assert piece.status_code == 206
        assert int(piece.headers["Content-Length"]) == len(piece.content)
        pieces.append(piece.content)
    assert hashlib.sha256(b"".join(pieces)).hexdigest() == artifact["sha256"]
    assert client.http.get(address).content == b"".join(pieces)
    assert client.get(f"/v1/artifacts/{artifact['id']}") == artifact


def test_checkpoints_are_pruned_and_the_model_is_the_newest(client):
    job = client.run(steps=250, checkpoint={"every": 100, "keep_last": 2, "keep_best": 0})
    assert [point["step"] for point in client.get(f"/v1/jobs/{job['id']}/checkpoints")["data"]] == [250, 200]
    files = client.get(f"/v1/jobs/{job['id']}/artifacts")["data"]
    assert sorted((file["filename"], file["step"]) for file in files) == [
        ("config.json", 200),
        ("config.json", 250),
        ("model.safetensors", 200),
        ("model.safetensors", 250),
        ("modeling.py", 200),
        ("modeling.py", 250),
    ]
    newest = next(f for f in files if f["step"] == 250 and f["format"] == "safetensors")
    answer = client.http.get(f"/v1/jobs/{job['id']}/model")
    assert hashlib.sha256(answer.content).hexdigest() == newest["sha256"]
    config = client.http.get(f"/v1/jobs/{job['id']}/model", params={"format": "config"}).json()
    assert config["network"]["architecture"] == "mlp"
    assert job["id"] not in json.dumps(config)


def test_there_is_no_model_before_the_first_checkpoint(client):
    job_id = client.submit(steps=10**6)
    client.wait(job_id, "running")
    answer = client.http.get(f"/v1/jobs/{job_id}/model")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_model_yet")
    client.http.post(f"/v1/jobs/{job_id}/cancel")
    wait_for(lambda: client.job(job_id)["status"] == "cancelled")
