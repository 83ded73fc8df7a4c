"""The parts of recurrent networks and transformers: what they say, and what they refuse."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from db.spec.job import JobSpec
from models.catalog.names import NormName
from models.catalog.registry import architectures
from models.kinds.sequences import Attention, Recurrent
from models.shapes import layers, sites
from tests.db.support import make_spec

cells = pytest.mark.parametrize("cell", ["lstm", "gru"])
networks = pytest.mark.parametrize("name", ["lstm", "gru", "transformer"])


def spec_of(network: str | dict[str, Any], norm: str | dict[str, Any] = "none", **changes: Any) -> JobSpec:
    architecture = {"name": network} if isinstance(network, str) else network
    return make_spec(architecture=architecture, norm={"name": norm} if isinstance(norm, str) else norm, **changes)


def refusal(*parts: Any, **changes: Any) -> dict[str, Any]:
    """Code, message and context of the one error that a spec is refused for."""
    with pytest.raises(ValidationError) as refused:
        spec_of(*parts, **changes)
    (error,) = refused.value.errors(include_url=False)
    return {"code": error["type"], "message": error["msg"], **error["ctx"]}


def of_kind(spec: JobSpec, kind: type) -> list[Any]:
    return [step.layer for step in layers(spec.blueprint()) if isinstance(step.layer, kind)]


def test_defaults_are_those_of_the_documentation():
    init = {"name": "default"}
    for cell in ("lstm", "gru"):
        expected = {"name": cell, "init": init, "hidden": [128], "dropout": 0.0, "gamma": 0.1, "noise": 0.1}
        assert spec_of(cell).to_json()["architecture"] == expected
    assert spec_of("transformer").to_json()["architecture"] == {
        "name": "transformer",
        "init": init,
        "patch": None,
        "depth": 2,
        "features": 64,
        "heads": 4,
        "hidden": 128,
        "activation": "gelu",
        "dropout": 0.0,
    }


@pytest.mark.parametrize(
    "network",
    [
        {"name": "lstm", "hidden": [16, 8], "dropout": 0.2, "gamma": 0.5, "noise": 0.0},
        {"name": "gru", "hidden": [4], "init": {"name": "orthogonal"}},
        {"name": "transformer", "patch": 4, "depth": 1, "features": 12, "heads": 3, "activation": "relu"},
    ],
    ids=lambda network: network["name"],
)
def test_a_spec_survives_json(network):
    spec = spec_of(network, "layer")
    assert JobSpec.model_validate(json.loads(json.dumps(spec.to_json()))) == spec


@networks
@pytest.mark.parametrize("norm", list(NormName))
def test_a_network_takes_the_norms_of_the_catalogue_and_refuses_all_others(name, norm):
    admitted = architectures()[name].norms
    if norm in admitted:
        assert spec_of(name, norm).norm.name == norm
        return
    error = refusal(name, norm)
    assert (error["code"], error["pointer"]) == ("norm_not_taken", "/norm/name")
    assert error["allowed"] == list(admitted)


@cells
def test_batch_norm_without_running_averages_is_refused_inside_a_cell(cell):
    error = refusal(cell, {"name": "batch", "track": False})
    assert (error["code"], error["pointer"], error["allowed"]) == ("norm_not_tracked", "/norm/track", [True])
    assert "Leave out track" in error["message"]
    assert spec_of(cell, {"name": "batch", "track": True}).norm.track is True
    assert spec_of("transformer", {"name": "batch", "track": False}).norm.track is False


@pytest.mark.parametrize(
    ("features", "heads", "divisors"), [(64, 5, [1, 2, 4, 8, 16, 32, 64]), (7, 2, [1, 7]), (8, 16, [1, 2, 4, 8])]
)
def test_heads_divide_the_features(features, heads, divisors):
    error = refusal({"name": "transformer", "features": features, "heads": heads})
    assert (error["code"], error["pointer"]) == ("heads_do_not_divide", "/architecture/heads")
    assert error["allowed"] == divisors
    for number in divisors:
        spec = spec_of({"name": "transformer", "features": features, "heads": number})
        assert {(layer.features, layer.heads) for layer in of_kind(spec, Attention)} == {(features, number)}


@pytest.mark.parametrize("patch", [3, 5, 16])
def test_patches_cover_the_image(patch):
    error = refusal({"name": "transformer", "patch": patch})
    assert (error["code"], error["pointer"]) == ("patch_does_not_divide", "/architecture/patch")
    assert error["allowed"] == [1, 2, 4, 8, None]
    assert "8 x 8" in error["message"]
    for side in error["allowed"]:
        (first, *_) = sites(spec_of({"name": "transformer", "patch": side}, "layer").blueprint())
        assert first.positions == (8 // side) ** 2 if side else 8


@pytest.mark.parametrize("position", ["before_activation", "after_activation", "norm_first", "norm_last"])
def test_norms_stand_inside_cells_and_before_or_behind_the_parts_of_a_transformer(position):
    norm = {"name": "layer", "position": position}
    for cell in ("lstm", "gru"):
        error = refusal(cell, norm)
        assert (error["code"], error["pointer"]) == ("position_not_taken", "/norm/position")
        assert error["allowed"] == ["auto"]
    if position.startswith("norm_"):
        assert len(sites(spec_of("transformer", norm).blueprint())) == (5 if position == "norm_first" else 4)
    else:
        assert refusal("transformer", norm)["allowed"] == ["auto", "norm_first", "norm_last"]


@cells
def test_options_of_the_part_and_of_batch_norm_meet_in_the_cell(cell):
    network = {"name": cell, "hidden": [6, 5], "gamma": 0.3, "noise": 0.2}
    batch = of_kind(spec_of(network, {"name": "batch", "momentum": None, "eps": 0.01}), Recurrent)
    assert [(layer.cell, layer.units) for layer in batch] == [(cell, 6), (cell, 5)]
    assert {(layer.steps, layer.noise) for layer in batch} == {(8, 0.2)}
    options = dict(dict(batch[0].norms)["norm_hidden"].options)
    assert {name: options[name] for name in ("momentum", "eps", "steps", "gamma")} == {
        "momentum": None,
        "eps": 0.01,
        "steps": 8,
        "gamma": 0.3,
    }
    for layer in of_kind(spec_of(network, "layer"), Recurrent):
        assert layer.noise == 0
        assert all("gamma" not in dict(norm.options) for _, norm in layer.norms)


def test_a_batch_of_one_sample_is_a_single_value_to_a_cell_and_as_many_as_tokens_to_a_transformer():
    error = refusal("lstm", "batch", batch_size=1)
    assert (error["code"], error["pointer"]) == ("one_value_per_channel", "/batch_size")
    assert spec_of("transformer", "batch", batch_size=1).batch_size == 1


def test_layer_norm_over_a_single_value_is_refused():
    assert refusal({"name": "lstm", "hidden": [1]}, "layer")["pointer"] == "/norm/name"
    assert refusal({"name": "transformer", "features": 1, "heads": 1}, "layer")["pointer"] == "/norm/name"


@pytest.mark.parametrize(
    "network",
    [
        {"name": "lstm", "hidden": []},
        {"name": "gru", "hidden": [8] * 5},
        {"name": "lstm", "hidden": [0]},
        {"name": "lstm", "gamma": 0},
        {"name": "gru", "noise": -0.1},
        {"name": "lstm", "activation": "relu"},
        {"name": "gru", "cell": "lstm"},
        {"name": "transformer", "depth": 0},
        {"name": "transformer", "heads": 0},
        {"name": "transformer", "patch": 0},
        {"name": "transformer", "dropout": 1.0},
        {"name": "transformer", "gamma": 0.1},
    ],
    ids=str,
)
def test_options_out_of_range_or_of_another_network_are_refused(network):
    with pytest.raises(ValidationError) as refused:
        spec_of(network)
    assert refused.value.errors()[0]["loc"][0] == "architecture"
