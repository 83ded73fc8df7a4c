"""Declared networks: what is refused, with the place of the layer, and what is read back as it was."""

import json
import time
from typing import Any

import pytest
from pydantic import ValidationError

from db.spec.architectures.sequential import DEEPEST, MOST_LAYERS
from db.spec.job import JobSpec
from models.shapes import layers, sites
from tests.db.support import make_spec

CONV = {"name": "conv", "channels": 8, "kernel": 3, "padding": 1}
NORM = {"name": "norm"}
RELU = {"name": "activation", "activation": "relu"}
HALF = {"name": "pool", "pool": "max", "kernel": 2}
WHOLE = {"name": "pool", "pool": "avg"}
FLATTEN = {"name": "flatten"}
OUTPUT = {"name": "linear", "units": 10}


def residual(*branch: dict[str, Any], shortcut: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"name": "residual", "layers": list(branch), "shortcut": list(shortcut)}


def spec_of(*declared: Any, **changes: Any) -> JobSpec:
    return make_spec(architecture={"name": "sequential", "layers": list(declared)}, **changes)


def refusals(*declared: Any, **changes: Any) -> list[dict[str, Any]]:
    with pytest.raises(ValidationError) as refused:
        spec_of(*declared, **changes)
    return [
        {"code": error["type"], "message": error["msg"], "loc": error["loc"], **error.get("ctx", {})}
        for error in refused.value.errors(include_url=False, include_input=False)
    ]


def refusal(*declared: Any, **changes: Any) -> dict[str, Any]:
    (error,) = refusals(*declared, **changes)
    return error


def test_a_whole_network_is_taken_and_survives_json():
    spec = spec_of(
        CONV,
        NORM,
        RELU,
        HALF,
        residual(CONV, NORM, RELU, CONV, NORM),
        residual(CONV | {"stride": 2}, shortcut=(CONV | {"kernel": 1, "stride": 2, "padding": 0}, NORM)),
        {"name": "dropout", "p": 0.25},
        WHOLE,
        OUTPUT,
    )
    assert JobSpec.model_validate(json.loads(json.dumps(spec.resolved().to_json()))) == spec.resolved()
    assert [site.name for site in sites(spec.blueprint())] == [
        "norm1",
        "residual4.norm1",
        "residual4.norm4",
        "residual5.shortcut.norm1",
    ]


def test_defaults_are_torchs_and_null_stands_for_what_follows():
    spec = spec_of(
        {"name": "conv", "channels": 4, "kernel": 5, "padding": None},
        {"name": "conv", "channels": 4, "kernel": 3},
        {"name": "activation"},
        NORM,
        HALF | {"stride": 1},
        HALF,
        {"name": "dropout"},
        FLATTEN,
        OUTPUT,
    )
    shapes = [step.output for step in layers(spec.blueprint())]
    assert shapes[:2] == [(4, 8, 8), (4, 6, 6)]
    assert shapes[4:6] == [(4, 5, 5), (4, 2, 2)]
    values = spec.to_json()["architecture"]
    assert values["layers"][1] == {
        "name": "conv",
        "channels": 4,
        "kernel": 3,
        "stride": 1,
        "padding": 0,
        "bias": True,
    }
    assert (values["layers"][2]["activation"], values["layers"][6]["p"]) == ("relu", 0.5)
    assert values["init"] == {"name": "default"}


@pytest.mark.parametrize(
    ("declared", "pointer", "words"),
    [
        ([CONV, NORM, OUTPUT], "/2", ["linear2", "[8, 8, 8]", "[features]", "flatten"]),
        ([FLATTEN, NORM, CONV], "/2", ["conv2", "[64]", "[channels, height, width]"]),
        ([NORM, HALF, HALF, HALF, HALF], "/4", ["pool4", "[1, 1, 1]", "a window of 2", "a side of 1"]),
        ([NORM, residual(CONV), WHOLE, OUTPUT], "/1", ["residual1", "[8, 8, 8]", "[1, 8, 8]"]),
        (
            [NORM, residual(CONV, residual(CONV, HALF)), OUTPUT],
            "/1/layers/1",
            ["residual1.residual1", "[8, 4, 4]"],
        ),
        (
            [NORM, residual(FLATTEN, shortcut=(HALF, OUTPUT)), OUTPUT],
            "/1/shortcut/1",
            ["residual1.shortcut.linear1", "[1, 4, 4]"],
        ),
        ([NORM, HALF | {"padding": 2}, FLATTEN, OUTPUT], "/1", ["padding 2", "more than half", "2"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_layers_whose_shapes_do_not_meet_are_refused_at_their_place_with_both_shapes(declared, pointer, words):
    error = refusal(*declared)
    assert (error["code"], error["pointer"]) == ("shape_mismatch", f"/architecture/layers{pointer}")
    assert all(word in error["message"] for word in words), error["message"]
    assert "A sample of the data has shape [1, 8, 8]." in error["message"]


@pytest.mark.parametrize(
    ("last", "shape"),
    [(OUTPUT | {"units": 9}, "[9]"), (NORM, "[64]"), (residual(NORM), "[64]"), (residual(FLATTEN, NORM), "[64]")],
    ids=["linear", "norm", "residual", "residual of two"],
)
def test_a_network_that_does_not_end_in_the_classes_is_refused_at_its_last_layer(last, shape):
    error = refusal(FLATTEN, NORM, last)
    assert (error["code"], error["pointer"], error["allowed"]) == (
        "shape_mismatch",
        "/architecture/layers/2",
        [10],
    )
    assert f"ends in {shape}" in error["message"]
    assert "a linear layer of 10 units" in error["message"]


def test_pointers_name_every_layer_of_a_network():
    part = spec_of(
        NORM, residual(NORM, residual(CONV | {"channels": 1}), shortcut=(NORM,)), FLATTEN, OUTPUT
    ).architecture
    assert [
        part.pointer(step.name) for step in layers(part.blueprint((1, 8, 8), 10, make_spec().norm.choice(1)))
    ] == [
        "/architecture/layers/0",
        "/architecture/layers/1/layers/0",
        "/architecture/layers/1/layers/1/layers/0",
        "/architecture/layers/1/shortcut/0",
        "/architecture/layers/2",
        "/architecture/layers/3",
    ]


@pytest.mark.parametrize("field", ["stride", "padding"])
def test_a_pool_of_whole_maps_has_neither_stride_nor_padding(field):
    error = refusal(NORM, residual(NORM, HALF | {"kernel": None, field: 1}), OUTPUT)
    assert (error["code"], error["pointer"]) == (
        "pool_without_kernel",
        f"/architecture/layers/1/layers/1/{field}",
    )
    assert "Give kernel" in error["message"]


@pytest.mark.parametrize(
    ("wrong", "loc", "code"),
    [
        ({"name": "conf"}, (0,), "union_tag_invalid"),
        ({"channels": 8, "kernel": 3}, (0,), "union_tag_not_found"),
        (CONV | {"kernel": 0}, (0, "conv", "kernel"), "greater_than_equal"),
        (CONV | {"units": 3}, (0, "conv", "units"), "extra_forbidden"),
        (OUTPUT | {"units": 65_537}, (0, "linear", "units"), "less_than_equal"),
        (OUTPUT | {"units": "10"}, (0, "linear", "units"), "int_type"),
        ({"name": "dropout", "p": 1}, (0, "dropout", "p"), "less_than"),
        (
            residual(RELU | {"activation": "Relu"}),
            (0, "residual", "layers", 0, "activation", "activation"),
            "enum",
        ),
        ({"name": "residual"}, (0, "residual", "layers"), "missing"),
        ("norm", (0,), "model_attributes_type"),
    ],
    ids=str,
)
def test_a_wrong_option_of_a_layer_is_named_alone(wrong, loc, code):
    error = refusal(wrong, FLATTEN, NORM, OUTPUT)
    assert (error["code"], error["loc"]) == (code, ("architecture", "sequential", "layers", *loc))


def nested(depth: int) -> dict[str, Any]:
    layer = NORM
    for _ in range(depth):
        layer = residual(layer)
    return layer


def test_blocks_stand_only_so_deep_in_one_another():
    assert spec_of(nested(DEEPEST), FLATTEN, OUTPUT)
    error = refusal(nested(DEEPEST + 1), FLATTEN, OUTPUT)
    place = "/architecture/layers/0" + "/layers/0" * (DEEPEST + 1)
    assert (error["code"], error["pointer"]) == ("too_deep", place)
    assert "one after the other" in error["message"]


def test_there_are_only_so_many_layers_wherever_they_stand():
    inside = residual(*[NORM] * (MOST_LAYERS - 4), shortcut=(NORM,))
    assert len(layers(spec_of(inside, FLATTEN, OUTPUT).blueprint())) == MOST_LAYERS - 1
    for declared in ([inside, RELU, FLATTEN, OUTPUT], [RELU] * MOST_LAYERS + [OUTPUT]):
        error = refusal(*declared)
        assert (error["code"], error["pointer"]) == ("too_many_layers", "/architecture/layers")
        assert error["allowed"] == f"1 to {MOST_LAYERS} layers"


def test_a_network_has_a_layer():
    error = refusal()
    assert (error["code"], error["pointer"]) == ("too_few_layers", "/architecture/layers")


@pytest.mark.parametrize(
    "declared",
    [[RELU] * 200_000, [nested(5_000)], [residual(*[residual(RELU)] * 100_000)]],
    ids=["long", "deep", "both"],
)
def test_hostile_lists_are_refused_at_once_with_one_error(declared):
    began = time.process_time()
    assert refusal(*declared)["code"] in ("too_many_layers", "too_deep")
    assert time.process_time() - began < 1


@pytest.mark.parametrize("declared", [None, "layers", {"name": "conv"}, 3], ids=str)
def test_what_is_no_list_of_layers_is_refused(declared):
    with pytest.raises(ValidationError) as refused:
        make_spec(architecture={"name": "sequential", "layers": declared})
    assert [error["loc"] for error in refused.value.errors()] == [("architecture", "sequential", "layers")]


def test_parts_that_were_made_in_python_are_taken_too():
    part = spec_of(residual(NORM), FLATTEN, OUTPUT).architecture
    assert type(part)(name="sequential", layers=part.layers) == part
    error = refusal(*part.layers, *[RELU] * MOST_LAYERS)
    assert error["code"] == "too_many_layers"
