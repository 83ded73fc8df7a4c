"""What is known of a transformer without torch, and what its norm and position make of it."""

import json

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from models.blueprint import from_json, to_json
from models.build import build
from models.catalog.architectures import ARCHITECTURES
from models.catalog.names import Position
from models.kinds.layers import Linear
from models.norms.base import Identity
from models.norms.group import GroupNorm
from models.shapes import ShapeError, layers, sites, total_parameters
from tests.models.networks.sequences import transformer_of

#: Options with which each norm fits 8 features.
OPTIONS = {
    "group": (("groups", 4),),
    "weight_standardization": (("groups", 2), ("eps", 1e-5)),
    "batch": (("momentum", 0.2), ("affine", False)),
}
SHAPES = {"sequence": ((6, 3), None), "rows": ((2, 6, 4), None), "patches": ((2, 6, 4), 2)}

norms = pytest.mark.parametrize("norm", ARCHITECTURES["transformer"].norms)
OWN_POSITIONS = (Position.NORM_FIRST, Position.NORM_LAST)
positions = pytest.mark.parametrize("position", [Position.AUTO, *OWN_POSITIONS])
shapes = pytest.mark.parametrize(("shape", "patch"), SHAPES.values(), ids=SHAPES.keys())


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(8)


def blueprint_of(norm, position=Position.AUTO, **changes):
    return transformer_of(norm, position, options=OPTIONS.get(norm, ()), **changes)


@norms
@positions
@shapes
def test_shapes_and_parameters_known_without_torch_are_those_of_the_module(norm, position, shape, patch):
    blueprint = blueprint_of(norm, position, shape=shape, patch=patch, dropout=0.1)
    network = build(blueprint)
    found = {}
    for step in layers(blueprint):
        network.get_submodule(step.name).register_forward_hook(
            lambda module, inputs, output, name=step.name: found.update({name: tuple(output.shape[1:])})
        )
    assert network(torch.randn(3, *shape)).shape == (3, 4)
    assert found == {step.name: step.output for step in layers(blueprint)}
    for step in layers(blueprint):
        # A residual layer has one number of its own beside those of the layers in it.
        own = network.get_submodule(step.name).parameters(recurse=step.layer.kind != "residual")
        assert (step.name, step.parameters) == (step.name, sum(parameter.numel() for parameter in own))
    assert total_parameters(blueprint) == sum(parameter.numel() for parameter in network.parameters())


@norms
@positions
def test_json_holds_the_whole_network(norm, position):
    blueprint = blueprint_of(norm, position, shape=(2, 6, 4), patch=2, dropout=0.1)
    assert from_json(json.loads(json.dumps(to_json(blueprint)))) == blueprint


IN_BLOCKS = [f"block{number}.{part}.norm" for number in (1, 2) for part in ("attention", "feed_forward")]


@norms
def test_sites_have_the_same_names_in_both_positions_and_norm_first_one_more(norm):
    first, last = (sites(blueprint_of(norm, position)) for position in OWN_POSITIONS)
    assert [site.name for site in first] == [*IN_BLOCKS, "norm"]
    assert [site.name for site in last] == IN_BLOCKS
    assert {(site.channels, site.positions, site.tokens) for site in (*first, *last)} == {(8, 6, True)}
    assert blueprint_of(norm, Position.AUTO) == blueprint_of(norm, Position.NORM_FIRST)


def test_the_norm_stands_before_the_branch_or_behind_the_addition():
    x = torch.randn(5, 6, 8, dtype=torch.float64) * 3 + 2
    first, last = (build(blueprint_of("layer", position)).double() for position in OWN_POSITIONS)
    var, mean = torch.var_mean(last.block2(x), dim=2, correction=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-10)
    torch.testing.assert_close(var, torch.ones_like(var), rtol=1e-3, atol=0)
    # Before the branch, the sum keeps what it was given: larger inputs stay larger.
    assert first.block2(100 * x).norm() > 50 * first.block2(x).norm()


@positions
def test_weight_forms_change_the_linear_layers_and_leave_attention_patches_and_output(position):
    network = build(blueprint_of("weight", position, shape=(2, 6, 4)))
    changed = {name for name, module in network.named_modules() if parametrize.is_parametrized(module)}
    inside = "residual." if position is Position.NORM_LAST else ""
    linears = {f"block{n}.feed_forward.{inside}linear{i}" for n in (1, 2) for i in (1, 2)}
    assert changed == {"embed", *linears}
    patches = build(blueprint_of("weight", position, shape=(2, 6, 4), patch=2))
    assert {name for name, module in patches.named_modules() if parametrize.is_parametrized(module)} == linears
    assert all(type(network.get_submodule(f"{site}.norm")) is Identity for site in IN_BLOCKS)


def test_weight_standardization_puts_group_norm_at_the_sites_if_it_has_groups():
    network = build(blueprint_of("weight_standardization"))
    assert {type(network.get_submodule(f"{site}.norm")) for site in IN_BLOCKS} == {GroupNorm}
    assert parametrize.is_parametrized(network.block1.feed_forward.linear1)


@positions
def test_skip_init_makes_each_block_begin_as_the_identity(position):
    network = build(blueprint_of("skip_init", position))
    x = torch.randn(5, 6, 8)
    assert torch.equal(nn.Sequential(network.block1, network.block2)(x), x)
    alphas = [name for name, _ in network.named_parameters() if name.endswith("alpha")]
    assert len(alphas) == 4


@norms
@positions
def test_every_bias_stays_for_no_norm_follows_a_linear_layer_directly(norm, position):
    found = [step.layer for step in layers(blueprint_of(norm, position)) if isinstance(step.layer, Linear)]
    assert len(found) == 6
    assert all(layer.bias for layer in found)


def test_dropout_is_after_the_positions_inside_and_after_both_parts_and_in_attention():
    network = build(blueprint_of("layer", dropout=0.3))
    dropouts = [name for name, module in network.named_modules() if isinstance(module, nn.Dropout)]
    in_block = ["attention.dropout", "feed_forward.dropout1", "feed_forward.dropout2"]
    assert dropouts == ["dropout", *(f"block{number}.{name}" for number in (1, 2) for name in in_block)]
    assert network.block1.attention.heads.dropout == 0.3
    x = torch.randn(2, 6, 3)
    assert not torch.equal(network(x), network(x))
    assert torch.equal(network.eval()(x), network(x))


def test_heads_that_do_not_divide_the_features_are_refused_by_shape():
    with pytest.raises(ShapeError, match="8 features are not divisible by 3 heads"):
        layers(blueprint_of("layer", heads=3))


@pytest.mark.parametrize(
    ("shape", "patch", "reason"),
    [((2, 6, 5), 2, "patches of 2"), ((6, 3), 2, "it takes images"), ((12,), None, "it takes images")],
    ids=str,
)
def test_data_that_gives_no_tokens_is_refused_by_shape(shape, patch, reason):
    with pytest.raises(ShapeError, match=reason):
        layers(blueprint_of("layer", shape=shape, patch=patch))
