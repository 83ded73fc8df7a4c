"""What leaves normlab: files from which plain torch rebuilds the network."""

import io
import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn

from models.norms.batch import BatchNorm
from tests.worker.support import make_run, small_spec, trained
from worker import export

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "linear": nn.Identity}


def layer(config: dict) -> nn.Module:
    match config["kind"]:
        case "flatten":
            return nn.Flatten()
        case "linear":
            return nn.Linear(config["inputs"], config["outputs"], bias=config["bias"])
        case "norm":
            stock = {"batch": nn.BatchNorm1d, "none": nn.Identity}[config["norm"]]
            return stock(config["features"], **config["options"])
        case "activation":
            return ACTIVATIONS[config["activation"]]()
    raise AssertionError(config)


def rebuild(config_file: bytes, weights_file: bytes) -> tuple[nn.Module, dict]:
    """As somebody would who has the two files, and no normlab."""
    config = json.loads(config_file)
    layers = config["network"]["body"]["layers"]
    model = nn.Sequential(OrderedDict((each["name"], layer(each)) for each in layers))
    model.load_state_dict(load(weights_file))
    return model.eval(), config


def prepare(raw: np.ndarray, config: dict) -> torch.Tensor:
    given = config["input"]
    if given["threshold"] is not None:
        return torch.from_numpy((raw >= given["threshold"]).astype(np.float32))
    return torch.from_numpy(raw.astype(np.float32)) * (1.0 / given["largest_value"])


@pytest.mark.parametrize("norm", [{"name": "batch", "eps": 1e-3}, {"name": "none"}], ids=lambda n: n["name"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_plain_torch_rebuilds_the_network_with_identical_outputs(digits, norm, activation):
    changes = {
        "norm": norm,
        "architecture": {"name": "mlp", "hidden": [8, 4], "activation": activation},
        "steps": 20,
    }
    run, reporter = trained(digits, **changes)
    files = export.config_bytes(small_spec(**changes)), export.model_bytes(reporter.snapshots[-1])
    model, config = rebuild(*files)
    inputs = prepare(np.array(digits.arrays.test_inputs), config)
    with torch.no_grad():
        assert torch.equal(model(inputs), run.model.eval()(inputs))
    assert list(inputs.shape[1:]) == config["input"]["shape"]
    assert model(inputs).shape[1] == config["classes"] == 10
    assert not any(isinstance(module, BatchNorm) for module in model.modules())


def test_the_threshold_of_a_binarized_job_makes_its_inputs(digits):
    spec = small_spec(dataset={"name": "digits", "binarize": True})
    config = json.loads(export.config_bytes(spec))
    raw = np.array(digits.arrays.train_inputs)
    assert config["input"]["threshold"] == 8
    np.testing.assert_array_equal(prepare(raw, config).numpy(), raw >= 8)
    mnist = export.config(small_spec(dataset={"name": "mnist", "binarize": True}))
    assert mnist["input"] == {"shape": [1, 28, 28], "largest_value": 255, "threshold": 128}


def test_equal_models_have_equal_files_and_different_ones_different(digits):
    spec = small_spec(name="one", labels={"a": "b"}, steps=5)
    other = small_spec(name="other", steps=5)
    snapshots = [trained(digits, steps=5, seed=seed)[1].snapshots[-1] for seed in (1, 1, 2)]
    first, same, different = (export.model_bytes(snapshot) for snapshot in snapshots)
    assert first == same
    assert first != different
    assert export.config_bytes(spec) == export.config_bytes(other)
    assert export.config_bytes(spec) != export.config_bytes(small_spec(norm={"name": "none"}))


def test_the_state_loads_with_weights_only_and_goes_on_where_it_was(digits):
    run, reporter = trained(digits, steps=5, optimizer={"name": "AdamW"})
    data = export.state_bytes(reporter.snapshots[-1])
    state = torch.load(io.BytesIO(data), weights_only=True)
    assert state["step"] == 5
    fresh = make_run(digits, optimizer={"name": "AdamW"})
    fresh.optimizer.load_state_dict(state["optimizer"])
    pairs = zip(run.model.parameters(), fresh.model.parameters(), strict=True)
    for ours, theirs in pairs:
        one, other = run.optimizer.state[ours], fresh.optimizer.state[theirs]
        assert torch.equal(one["exp_avg"], other["exp_avg"])
        assert torch.equal(one["exp_avg_sq"], other["exp_avg_sq"])
    torch.set_rng_state(state["rng"]["cpu"])


def test_the_config_holds_no_id_and_ends_with_a_line(digits):
    text = export.config_bytes(small_spec(name="secret-name")).decode()
    assert "secret-name" not in text
    assert text.endswith("}\n")
    assert json.loads(text)["format"] == export.CONFIG_FORMAT
