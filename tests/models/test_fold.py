"""Folding: the network without its batch norms is the network with them (science.md section 7, item 8)."""

import json

import pytest
import torch

from models.blueprint import NormChoice, from_json, to_json
from models.build import build
from models.fold import DIVISORS, fold
from models.kinds.layers import Flatten, Linear
from models.shapes import sites
from tests.models.folding import (
    EXTREME,
    MILD,
    NETWORKS,
    RELU,
    assert_same_outputs,
    batch,
    conv,
    dtypes,
    foldable,
    network,
    of_layers,
    trained_state,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(5)


@dtypes
@pytest.mark.parametrize(
    ("architecture", "name"),
    [(architecture, "batch") for architecture in NETWORKS] + [("cnn", name) for name in DIVISORS],
)
def test_a_folded_network_has_the_outputs_of_the_whole_one(architecture, name, dtype):
    blueprint = network(architecture, NormChoice(name=name))
    # Layer upon layer of scales of 300 leave the range of float32.
    deep_and_narrow = architecture == "inception" and dtype is torch.float32
    state = trained_state(blueprint, dtype, MILD if deep_and_narrow else EXTREME)
    folded = fold(blueprint, state)
    assert_same_outputs(blueprint, state, folded)
    assert len(sites(folded.blueprint)) < len(sites(blueprint))
    assert {value.dtype for value in folded.state.values() if value.is_floating_point()} == {dtype}


@dtypes
@foldable
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("layer", ["linear", "conv"])
def test_each_norm_folds_into_a_layer_with_and_without_a_bias(layer, bias, name, dtype):
    before = {"linear": Linear(inputs=192, outputs=4, bias=bias), "conv": conv(bias=bias)}[layer]
    flatten = [("flatten", Flatten())] if layer == "linear" else []
    blueprint = of_layers(*flatten, ("layer", before), ("norm", batch(name=name)))
    state = trained_state(blueprint, dtype)
    folded = fold(blueprint, state)
    assert_same_outputs(blueprint, state, folded)
    assert folded.left == {}
    assert set(folded.state) == {"layer.weight", "layer.bias"}
    assert [own_name for own_name, _ in folded.blueprint.body.layers][-1] == "layer"


@dtypes
@pytest.mark.parametrize("name", sorted(set(DIVISORS) - {"frozen_batch"}))
def test_norms_without_scale_and_shift_and_with_another_eps_fold_too(name, dtype):
    blueprint = of_layers(("conv", conv()), ("norm", batch(name=name, affine=False, eps=0.1)))
    state = trained_state(blueprint, dtype)
    assert "norm.weight" not in state
    folded = fold(blueprint, state)
    assert_same_outputs(blueprint, state, folded)
    assert folded.left == {}


def test_a_folded_weight_is_the_equation_of_the_paper():
    blueprint = of_layers(("conv", conv(bias=True)), ("norm", batch(eps=0.01)))
    state = trained_state(blueprint, torch.float64)
    scale = state["norm.weight"] / (state["norm.running_var"] + 0.01).sqrt()
    found = fold(blueprint, state).state
    torch.testing.assert_close(found["conv.weight"], scale.view(4, 1, 1, 1) * state["conv.weight"])
    torch.testing.assert_close(
        found["conv.bias"], scale * (state["conv.bias"] - state["norm.running_mean"]) + state["norm.bias"]
    )
    assert (found["conv.weight"][0] == 0).all()


def test_half_precision_weights_are_folded_in_float64_and_rounded_once():
    blueprint = of_layers(("conv", conv(bias=True)), ("norm", batch()))
    state = trained_state(blueprint, torch.bfloat16)
    exact = fold(blueprint, {name: value.double() for name, value in state.items()}).state
    for name, value in fold(blueprint, state).state.items():
        assert torch.equal(value, exact[name].bfloat16())


def test_two_norms_in_a_row_fold_into_the_same_layer():
    blueprint = of_layers(("conv", conv()), ("norm1", batch()), ("norm2", batch()), ("relu", RELU))
    state = trained_state(blueprint, torch.float64)
    folded = fold(blueprint, state)
    assert_same_outputs(blueprint, state, folded)
    assert sites(folded.blueprint) == []


@foldable
def test_nothing_of_the_input_is_changed(name):
    blueprint = network("cnn", NormChoice(name=name))
    state = trained_state(blueprint, torch.float32)
    text, before = json.dumps(to_json(blueprint)), {key: value.clone() for key, value in state.items()}
    fold(blueprint, state)
    assert json.dumps(to_json(blueprint)) == text
    assert state.keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in state.items())


def test_a_folded_network_survives_its_json_and_has_nothing_more_to_fold():
    blueprint = network("cnn", NormChoice(name="batch"))
    folded = fold(blueprint, trained_state(blueprint, torch.float32))
    again = from_json(json.loads(json.dumps(to_json(folded.blueprint))))
    assert again == folded.blueprint
    build(again).load_state_dict(folded.state)
    twice = fold(folded.blueprint, folded.state)
    assert (twice.blueprint, twice.left) == (folded.blueprint, folded.left)
    assert all(torch.equal(value, folded.state[name]) for name, value in twice.state.items())
