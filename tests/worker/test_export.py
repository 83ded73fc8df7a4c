"""What leaves normlab: files from which torch alone rebuilds the network that was trained."""

import json
import sys

import numpy as np
import pytest
import torch

from models.build import build
from models.catalog.names import Architecture
from models.catalog.registry import architectures
from tests.worker.exported import run_isolated, write_export
from tests.worker.networks import BATCH, noise_images, small_network
from tests.worker.support import CPU, Kept, make_run, small_spec, trained
from worker import assembly as runs
from worker import export
from worker.trainer import train

#: Every network with its natural norm, and every norm in a network that takes it.
CASES = sorted(
    {(name.value, "batch" if "batch" in architectures()[name].norms else "layer") for name in Architecture}
    | {("cnn", norm) for norm in architectures()[Architecture.CNN].norms}
    | {(name, "layer") for name in ("lstm", "gru", "transformer")}
    | {("resnet", "skip_init")}
)

#: Loads the networks of all folders and says what it finds.
LOAD_ALL = """
import json, pathlib
import torch
from modeling import load_model
from safetensors.torch import load_file

torch.set_num_threads(1)
found = {}
for folder in sorted(path for path in pathlib.Path().iterdir() if path.is_dir()):
    random = torch.get_rng_state()
    model = load_model(folder / "config.json", folder / "model.safetensors")
    given, samples = load_file(folder / "model.safetensors"), load_file(folder / "samples.safetensors")
    with torch.no_grad():
        outputs = model(samples["inputs"])
    state = {name: value.clone() for name, value in model.state_dict().items()}
    facts = found[folder.name] = {
        "random numbers are left alone": torch.equal(random, torch.get_rng_state()),
        "eval mode": not any(module.training for module in model.modules()),
        "same outputs": torch.equal(outputs, samples["outputs"]),
        "same names": state.keys() == given.keys(),
        "same state": all(torch.equal(value, given[name]) for name, value in state.items()),
    }
    model.train()(samples["inputs"]).square().sum().backward()
    facts["gradients are finite"] = all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    after = model.state_dict()
    facts["averages that moved"] = [
        name for name in given if ".running_" in name and not torch.equal(after[name], given[name])
    ]
    facts["updates"] = [int(after[name] - given[name]) for name in given if name.endswith("num_batches_tracked")]
print(json.dumps({"found": found, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """What a process without normlab finds in the exports of all cases, each trained for a step."""
    folder, images = tmp_path_factory.mktemp("exports"), noise_images()
    inputs = torch.randn(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for architecture, norm in CASES:
        spec, reporter = small_network(architecture, norm), Kept()
        run = runs.make_run(spec, images, CPU)
        assert train(run, reporter, lambda: None) is None
        with torch.no_grad():
            outputs = run.model.eval()(inputs)
        write_export(
            folder / f"{architecture}-{norm}", spec, reporter.snapshots[-1], inputs=inputs, outputs=outputs
        )
    return run_isolated(folder, LOAD_ALL)


@pytest.mark.parametrize(("architecture", "norm"), CASES)
def test_torch_alone_rebuilds_the_trained_network_bit_for_bit(exports, architecture, norm):
    facts = exports["found"][f"{architecture}-{norm}"]
    assert {name for name, value in facts.items() if value is True} == {
        "random numbers are left alone",
        "eval mode",
        "same outputs",
        "same names",
        "same state",
        "gradients are finite",
    }


@pytest.mark.parametrize(("architecture", "norm"), CASES)
def test_a_training_step_of_the_rebuilt_network_moves_its_running_averages(exports, architecture, norm):
    facts = exports["found"][f"{architecture}-{norm}"]
    state = build(small_network(architecture, norm).blueprint()).state_dict()
    averages = sorted(name for name in state if ".running_" in name)
    # Those of frozen batch norm are there, and nothing moves them.
    assert sorted(facts["averages that moved"]) == ([] if norm == "frozen_batch" else averages)
    chunks = 2 if norm == "ghost_batch" else 1
    assert set(facts["updates"]) <= {chunks}
    assert bool(facts["updates"]) == bool(facts["averages that moved"])


def test_rebuilding_takes_nothing_of_normlab_and_little_else(exports):
    loaded = set(exports["modules"])
    assert {"modeling", "torch", "safetensors"} <= loaded
    assert not loaded & {"api", "worker", "models", "db", "pydantic", "sqlalchemy"}
    assert "worker" in {name.partition(".")[0] for name in sys.modules}


@pytest.mark.parametrize("standardize", [False, True], ids=["divided", "standardized"])
def test_inputs_prepared_as_the_config_says_are_those_of_the_training(digits, standardize):
    changes = {"dataset": {"name": "digits", "standardize": standardize}}
    given = json.loads(export.config_bytes(small_spec(**changes)))["input"]
    inputs = torch.from_numpy(np.array(digits.arrays.test_inputs)) / given["largest_value"]
    if standardize:
        inputs = (inputs - torch.tensor(given["mean"])) / torch.tensor(given["std"])
    assert given["threshold"] is None
    assert list(inputs.shape[1:]) == given["shape"]
    run = make_run(digits, **changes)
    torch.testing.assert_close(inputs, run.data.test.batch(torch.arange(len(inputs)))[0])


def test_the_threshold_of_a_binarized_job_is_in_its_config():
    config = json.loads(export.config_bytes(small_spec(dataset={"name": "digits", "binarize": True})))
    assert config["input"]["threshold"] == 8
    mnist = export.config(small_spec(dataset={"name": "mnist", "binarize": True}))
    unstandardized = {"mean": None, "std": None}
    assert mnist["input"] == {"shape": [1, 28, 28], "largest_value": 255, "threshold": 128, **unstandardized}


def test_equal_models_have_equal_files_and_different_ones_different(digits):
    spec = small_spec(name="one", labels={"a": "b"}, steps=5)
    other = small_spec(name="other", steps=5)
    snapshots = [trained(digits, steps=5, seed=seed)[1].snapshots[-1] for seed in (1, 1, 2)]
    first, same, different = (export.model_bytes(snapshot.weights) for snapshot in snapshots)
    assert first == same
    assert first != different
    assert export.config_bytes(spec) == export.config_bytes(other)
    assert export.config_bytes(spec) != export.config_bytes(small_spec(norm={"name": "none"}))


def test_the_config_holds_no_id_and_ends_with_a_line(digits):
    text = export.config_bytes(small_spec(name="secret-name")).decode()
    assert "secret-name" not in text
    assert text.endswith("}\n")
    assert json.loads(text)["format"] == export.CONFIG_FORMAT
