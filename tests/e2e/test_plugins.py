"""The example package, installed: its names are listed, checked and trained like those of normlab."""

import json
import re
import subprocess
import sys

import pytest

from tests.e2e.client import Client
from tests.services import ROOT, Service

pytestmark = pytest.mark.e2e

PACKAGE = ROOT / "examples" / "normlab-example"
#: Of eight classes: a guess is right in one of eight.
LEARNT = 0.8


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """`normlab-server up`, with the example package installed beside it (nothing is downloaded)."""
    site = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", site, PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    running = Service(home=tmp_path_factory.mktemp("home"), environment={"PYTHONPATH": str(site)})
    running.start()
    yield running
    assert running.stop() == 0, running.output
    assert "Traceback" not in running.output, running.output


@pytest.fixture
def client(service):
    with service.client() as http:
        yield Client(http)


def example() -> dict:
    """The job of the package's README."""
    (body,) = re.findall(r"-d '(\{.*?\n\})'", (PACKAGE / "README.md").read_text(), flags=re.DOTALL)
    return json.loads(body)


def entry(client, kind: str, name: str) -> dict:
    (found,) = [each for each in client.get(f"/v1/catalog/{kind}")["data"] if each["name"] == name]
    return found


def test_the_names_are_in_the_catalogue_and_the_schema(client):
    norm = entry(client, "norms", "mean_only_batch")
    assert norm["formula"] == r"y = x - \mu_B + \beta"
    assert "1602.07868" in norm["reference"]
    network = entry(client, "architectures", "lenet")
    assert {"none", "batch", "mean_only_batch"} <= set(network["norms"])
    assert "mean_only_batch" in entry(client, "architectures", "mlp")["norms"]
    data = entry(client, "datasets", "gratings")
    assert (data["shape"], data["classes"], data["train_samples"]) == ([1, 16, 16], 8, 1600)
    schema = client.get("/v1/schemas/job.json")
    assert {"LeNet", "MeanOnlyBatchNorm"} <= set(schema["$defs"])
    assert "gratings" in schema["$defs"]["Dataset"]["properties"]["name"]["enum"]


@pytest.mark.parametrize(
    ("changes", "pointer", "allowed"),
    [
        ({"norm": {"name": "mean_only_batch", "momentum": 2}}, "/norm/momentum", "at most 1"),
        ({"norm": {"name": "mean_only_batch", "eps": 1e-5}}, "/norm/eps", "momentum"),
        ({"norm": {"name": "mean_only"}}, "/norm/name", "mean_only_batch"),
        ({"norm": {"name": "instance"}}, "/norm/name", "mean_only_batch"),
        ({"architecture": {"name": "lenet", "activation": "rleu"}}, "/architecture/activation", "relu"),
        ({"architecture": {"name": "lenet5"}}, "/architecture/name", "lenet"),
        ({"dataset": {"name": "grating"}}, "/dataset/name", "gratings"),
        ({"dataset": {"name": "digits"}}, "/architecture", None),
        ({"batch_size": 1}, "/batch_size", "2 to 1600"),
    ],
    ids=str,
)
def test_what_goes_wrong_is_refused_with_the_field_and_what_is_allowed(client, changes, pointer, allowed):
    answer = client.http.post("/v1/jobs", json=example() | changes)
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert allowed is None or allowed in error["allowed"]


def test_the_examples_job_trains_and_its_norm_is_recorded_in_both_modes(client):
    job = client.run(example())
    assert job["latest"]["test/accuracy"]["value"] > LEARNT
    assert job["latest"]["test/precise/accuracy"]["value"] > LEARNT
    sites = client.get(f"/v1/jobs/{job['id']}/statistics", channels="all")["sites"]
    assert list(sites) == ["norm1", "norm2", "norm3", "norm4"]
    for name, channels in (("norm1", 6), ("norm2", 16), ("norm3", 120), ("norm4", 84)):
        assert (sites[name]["norm"], sites[name]["channels"]) == ("mean_only_batch", channels)
        for mode in ("train", "eval"):
            assert list(sites[name][mode]) == ["mean"]
            rows = sites[name][mode]["mean"]
            assert [len(row) for row in rows] == [channels] * len(sites[name]["step"])
            assert any(value != 0 for value in rows[-1])
    config = client.http.get(f"/v1/jobs/{job['id']}/model", params={"format": "config"}).json()
    assert (config["network"]["architecture"], config["outputs"]) == ("lenet", 8)
    assert (config["input"]["mean"], config["input"]["std"]) == ([0.5], [0.2281])


def test_the_new_norm_goes_with_normlabs_networks_and_the_new_network_with_its_norms_and_data(client):
    mlp = {"name": "mlp", "hidden": [32, 32]}
    rest = {"norm": {"name": "mean_only_batch", "position": "after_activation"}, "steps": 300}
    job = client.run(example(), dataset={"name": "digits"}, architecture=mlp, **rest)
    assert job["latest"]["test/accuracy"]["value"] > LEARNT
    other = client.run(example(), norm={"name": "batch"}, steps=200)
    assert other["latest"]["test/accuracy"]["value"] > LEARNT
    assert other["dataset"]["hash"] != job["dataset"]["hash"]
