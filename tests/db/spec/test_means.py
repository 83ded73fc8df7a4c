"""Networks that look at nothing but means which their instance norm has fixed: refused, and no others."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from models.build import build
from tests.db.support import make_spec
from worker.optim import norm_parameters

INSTANCE = {"name": "instance"}
CONV = {"name": "conv", "channels": 8, "kernel": 3, "padding": 1}
PIXELWISE = {"name": "conv", "channels": 6, "kernel": 1}
NORM = {"name": "norm"}
RELU = {"name": "activation", "activation": "relu"}
LINEAR = {"name": "activation", "activation": "linear"}
DROPOUT = {"name": "dropout"}
FLATTEN = {"name": "flatten"}
MEAN, LARGEST = {"name": "pool", "pool": "avg"}, {"name": "pool", "pool": "max"}


def residual(*branch: dict[str, Any], shortcut: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"name": "residual", "layers": list(branch), "shortcut": list(shortcut)}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    """Layers on images of 8x8, and a linear output."""
    return {"name": "sequential", "layers": [*layers, {"name": "linear", "units": 10}]}


def pool(kernel: int, **options: Any) -> dict[str, Any]:
    return MEAN | {"kernel": kernel} | options


def refusal(architecture: dict[str, Any], norm: dict[str, Any], **changes: Any) -> dict[str, Any]:
    with pytest.raises(ValidationError) as refused:
        make_spec(architecture=architecture, norm=norm, **changes)
    (error,) = refused.value.errors(include_url=False)
    return {"code": error["type"], "message": error["msg"], **error["ctx"]}


def looks_at_samples(architecture: dict[str, Any]) -> bool:
    """Whether outputs differ between samples, with every parameter drawn at random."""
    torch.manual_seed(0)
    # Valid with its norm or not: built as it would be.
    taken = make_spec(architecture=architecture, norm={"name": "batch"})
    info = taken.dataset.info
    choice = taken.norm.choice(1)
    blueprint = taken.architecture.blueprint(info.shape, info.outputs, type(choice)(name="instance"))
    network = build(blueprint).double().eval()
    for parameter in norm_parameters(network):
        torch.nn.init.normal_(parameter)
    x = torch.randn(4, *info.shape, dtype=torch.float64)
    with torch.no_grad():
        return bool(network(x).std(0).max() > 1e-9)


CONSTANT = {
    "mean": [CONV, NORM, MEAN],
    "mean after a norm and linear activation": [CONV, NORM, LINEAR, MEAN],
    "mean after dropout": [CONV, NORM, DROPOUT, MEAN],
    "window of the whole map": [CONV, NORM, pool(8), FLATTEN],
    "moving window of the whole map": [CONV, NORM, pool(8, stride=1), FLATTEN],
    "windows that tile the map": [CONV, NORM, pool(2), pool(4), FLATTEN],
    "windows that tile the map and the zeros around it": [CONV, NORM, pool(4, padding=2), MEAN],
    "pixelwise convolution": [CONV, NORM, PIXELWISE, MEAN],
    "all that follows a constant": [CONV, NORM, MEAN, RELU, {"name": "linear", "units": 7}, RELU],
    "branch and shortcut": [CONV, residual(CONV, NORM, shortcut=(PIXELWISE | {"channels": 8}, NORM)), MEAN],
    "identity of what is fixed already": [CONV, NORM, residual(CONV, NORM), MEAN],
}
FREE = {
    "activation": [CONV, NORM, RELU, MEAN],
    "largest value": [CONV, NORM, LARGEST],
    "all values": [CONV, NORM, FLATTEN],
    "convolution": [CONV, NORM, CONV, MEAN],
    "mean of a part": [CONV, NORM, pool(3), FLATTEN],
    "overlapping windows": [CONV, NORM, pool(2, stride=1), MEAN],
    "padded windows": [CONV, NORM, pool(3, stride=1, padding=1), MEAN],
    "windows of a part, then their largest": [CONV, NORM, pool(2), LARGEST],
    "identity": [CONV, residual(CONV, NORM), MEAN],
    "shortcut without a norm": [CONV, residual(CONV, NORM, shortcut=(PIXELWISE | {"channels": 8},)), MEAN],
    "branch without a norm": [CONV, residual(CONV, RELU, shortcut=(NORM,)), MEAN],
    "mean before the norm": [CONV, NORM, RELU, CONV, MEAN],
}


@pytest.mark.parametrize("layers", CONSTANT.values(), ids=CONSTANT.keys())
def test_a_network_that_looks_at_nothing_but_fixed_means_is_refused(layers):
    architecture = sequential(*layers)
    error = refusal(architecture, INSTANCE)
    assert (error["code"], error["pointer"]) == ("pooled_to_a_constant", "/norm/name")
    assert not looks_at_samples(architecture)


@pytest.mark.parametrize("layers", FREE.values(), ids=FREE.keys())
def test_a_network_that_looks_at_more_is_taken(layers):
    assert make_spec(architecture=sequential(*layers), norm=INSTANCE)
    assert looks_at_samples(sequential(*layers))


CNN = {"name": "cnn", "channels": [4, 6]}


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("architecture", "dataset"),
    [
        (CNN, "digits"),
        (CNN | {"dropout": 0.5}, "digits"),
        ({"name": "densenet", "depth": 7}, "cifar10"),
        ({"name": "inception", "width": 0.1}, "cifar10"),
        (sequential(CONV, NORM, RELU, MEAN), "digits"),
    ],
    ids=str,
)
def test_behind_the_activation_the_way_out_is_a_position_before_it(architecture, dataset, affine):
    norm, data = INSTANCE | {"affine": affine}, {"name": dataset}
    error = refusal(architecture, norm | {"position": "after_activation"}, dataset=data)
    assert (error["code"], error["pointer"]) == ("pooled_to_a_constant", "/norm/position")
    assert error["allowed"] == ["auto", "before_activation"]
    assert "Choose position auto or before_activation, or another norm." in error["message"]
    for position in error["allowed"]:
        assert make_spec(architecture=architecture, norm=norm | {"position": position}, dataset=data)


@pytest.mark.parametrize("position", ["auto", "after_activation"])
@pytest.mark.parametrize(
    "architecture",
    [sequential(CONV, NORM, MEAN), CNN | {"activation": "linear"}, sequential(CONV, NORM, pool(8), FLATTEN)],
    ids=str,
)
def test_where_no_position_helps_the_way_out_is_another_norm_that_is_valid(architecture, position):
    error = refusal(architecture, INSTANCE | {"position": position})
    assert (error["code"], error["pointer"]) == ("pooled_to_a_constant", "/norm/name")
    assert "Choose another norm." in error["message"]
    assert {"none", "batch", "layer"} <= set(error["allowed"])
    assert "instance" not in error["allowed"]
    for name in error["allowed"]:
        assert make_spec(architecture=architecture, norm={"name": name})


def test_the_message_names_the_site():
    nested = sequential(CONV, residual(CONV, NORM, shortcut=(PIXELWISE | {"channels": 8}, NORM)), MEAN)
    assert "at site residual1.shortcut.norm1 gives" in refusal(nested, INSTANCE)["message"]


def test_maps_of_one_value_are_refused_for_what_they_are():
    tiny = sequential(CONV, LARGEST | {"kernel": 8}, NORM, MEAN)
    assert refusal(tiny, INSTANCE)["code"] == "one_value_per_channel"


def test_other_norms_may_stand_before_the_mean():
    for name in ("none", "batch", "layer", "group", "rms"):
        options = {"groups": 4} if name == "group" else {}
        assert make_spec(architecture=sequential(CONV, NORM, MEAN), norm={"name": name, **options})
