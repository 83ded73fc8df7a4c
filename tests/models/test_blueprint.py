"""Blueprints: every kind is known everywhere, biases stand where they count, and JSON holds the whole network."""

import inspect
import json
from collections import OrderedDict
from typing import get_args

import pytest
import torch
from torch import nn

from models import blueprint as records
from models.blueprint import Activation, Blueprint, Chain, Flatten, Init, Layer, Linear, Norm, to_json
from models.build import ACTIVATIONS, BUILDERS, build
from models.catalog.names import ARCHITECTURES, NORMS, ActivationName, Architecture, InitName, NormName
from models.networks.mlp import mlp
from models.norms.table import NORM_LAYERS, make_norm
from models.placement import leave_out_absorbed_biases
from models.shapes import output_shape, parameter_count

#: One layer of each kind, and the shape of a sample that it takes.
EXAMPLES: dict[type, tuple[Layer, tuple[int, ...]]] = {
    Flatten: (Flatten(), (2, 3)),
    Linear: (Linear(inputs=4, outputs=3), (4,)),
    Norm: (Norm(name=NormName.BATCH, features=4), (4,)),
    Activation: (Activation(name=ActivationName.TANH), (4,)),
    Chain: (Chain(layers=(("a", Linear(inputs=4, outputs=2)),)), (4,)),
}


def kinds() -> list[type]:
    return [cls for _, cls in inspect.getmembers(records, inspect.isclass) if "kind" in vars(cls)]


def small(norm: NormName, init: Init | None = None, options=()) -> Blueprint:
    return mlp(
        (1, 2, 3),
        4,
        hidden=[5, 3],
        activation=ActivationName.TANH,
        norm=lambda features: Norm(name=norm, features=features, options=options),
        init=init or Init(),
    )


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.kind)
def test_every_kind_is_built_measured_and_written(kind):
    layer, shape = EXAMPLES[kind]
    module = BUILDERS[kind](layer)
    assert tuple(module(torch.randn(2, *shape)).shape[1:]) == output_shape("layer", layer, shape)
    if kind is not Chain:
        assert parameter_count(layer) == sum(p.numel() for p in module.parameters())
    assert json.loads(json.dumps(to_json(layer)))["kind"] == kind.kind


def test_builders_know_exactly_the_kinds_of_layers():
    assert set(BUILDERS) == set(get_args(Layer)) == set(kinds()) == set(EXAMPLES)


def test_every_name_of_the_catalogue_has_its_layer_and_its_entry():
    assert set(ACTIVATIONS) == set(ActivationName)
    assert set(NORM_LAYERS) == set(NORMS) == set(NormName)
    assert set(ARCHITECTURES) == set(Architecture)
    assert all(set(info.norms) <= set(NORMS) for info in ARCHITECTURES.values())


@pytest.mark.parametrize("name", list(NormName))
def test_options_of_the_catalogue_are_those_of_the_layer(name):
    taken = set(inspect.signature(type(make_norm(name, 4))).parameters) - {"features", "args", "kwargs"}
    assert set(NORMS[name].options) == taken


def test_biases_are_left_out_before_batch_and_kept_before_none_and_at_the_end():
    with_batch, without = build(small(NormName.BATCH)), build(small(NormName.NONE))
    for name in ("linear1", "linear2"):
        assert with_batch.get_submodule(name).bias is None
        assert without.get_submodule(name).bias is not None
    assert with_batch.output.bias is not None
    assert without.output.bias is not None


@pytest.mark.parametrize("norm", list(NormName))
def test_biases_are_left_out_inside_nested_chains_by_the_norms_entry(norm):
    inner = Chain(layers=(("linear", Linear(inputs=4, outputs=4)), ("norm", Norm(name=norm, features=4))))
    apart = (("linear", Linear(inputs=4, outputs=4)), ("relu", Activation(name=ActivationName.RELU)))
    chain = Chain(layers=(("block", inner), *apart, ("norm", Norm(name=norm, features=4))))
    rewritten = leave_out_absorbed_biases(chain)
    (_, block), (_, linear), *_ = rewritten.layers
    assert block.layers[0][1].bias is not NORMS[norm].absorbs_bias
    assert linear.bias is True
    assert leave_out_absorbed_biases(rewritten) == rewritten


def rebuild(config: dict) -> nn.Module:
    """What a reader without normlab makes of the JSON: stock torch layers alone."""
    activations = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "linear": nn.Identity}
    match config["kind"]:
        case "flatten":
            return nn.Flatten()
        case "linear":
            return nn.Linear(config["inputs"], config["outputs"], bias=config["bias"])
        case "norm" if config["norm"] == "batch":
            return nn.BatchNorm1d(config["features"], **config["options"])
        case "norm":
            return nn.Identity()
        case "activation":
            return activations[config["activation"]]()
        case "chain":
            return nn.Sequential(OrderedDict((layer["name"], rebuild(layer)) for layer in config["layers"]))
    raise AssertionError(config)


@pytest.mark.parametrize("norm", list(NormName))
def test_json_holds_what_a_reader_without_normlab_needs_to_rebuild_the_network(norm):
    options = (("momentum", 0.3), ("eps", 0.01), ("affine", True)) if norm is NormName.BATCH else ()
    blueprint = small(norm, options=options)
    config = json.loads(json.dumps(to_json(blueprint), allow_nan=False))
    ours, stock = build(blueprint).eval(), rebuild(config["body"]).eval()
    stock.load_state_dict(ours.state_dict())
    x = torch.randn(6, *config["input_shape"])
    assert torch.equal(ours(x), stock(x))
    assert stock(x).shape == (6, config["outputs"])
    assert config["architecture"] == "mlp"
    if norm is NormName.BATCH:
        assert (stock.norm1.momentum, stock.norm1.eps) == (0.3, 0.01)


@pytest.mark.parametrize("name", list(InitName))
def test_json_holds_the_init(name):
    init = Init(name=name, std=0.02 if name is InitName.NORMAL else None)
    written = json.loads(json.dumps(to_json(small(NormName.BATCH, init))))["init"]
    assert written == {"name": name.value, "std": init.std}
