"""Where biases, norms, activations and parametrized weights stand in the convolutional networks."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise, product

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from models.blueprint import Blueprint, NormChoice, map_chains
from models.build import build
from models.catalog.names import Position
from models.kinds.containers import Chain, Residual
from models.kinds.layers import Conv
from models.shapes import layers, sites
from tests.models.networks.support import CIFAR, FAMILIES, NORMS, SMALL

POSITIONS = [Position.BEFORE_ACTIVATION, Position.AFTER_ACTIVATION]

every = pytest.mark.parametrize("network", SMALL.values(), ids=SMALL.keys())
families = pytest.mark.parametrize("network", FAMILIES.values(), ids=FAMILIES.keys())


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(5)


def with_all_biases(blueprint: Blueprint) -> Blueprint:
    """The network as it were if no norm absorbed a bias."""

    def change(chain: Chain) -> Chain:
        named = ((name, replace(x, bias=True) if isinstance(x, Conv) else x) for name, x in chain.layers)
        return Chain(layers=tuple(named))

    return replace(blueprint, body=map_chains(blueprint.body, change))


def train_gradients(module: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Outputs in train mode, and each parameter's gradient of some loss; dropout is the same at every call."""
    torch.manual_seed(7)
    y = module.train()(x)
    (y * torch.linspace(-1, 2, y.numel()).view_as(y).sin()).sum().backward()
    return y.detach(), {name: parameter.grad for name, parameter in module.named_parameters()}


@pytest.mark.parametrize("network", [*FAMILIES.values(), SMALL["resnet-50"]], ids=[*FAMILIES, "resnet-50"])
@pytest.mark.parametrize(
    ("name", "position"),
    [
        *product(["batch", "group", "none"], POSITIONS),
        *product(["lp_batch", "lp_batch centred"], POSITIONS),
        ("instance", Position.AUTO),
    ],
)
def test_biases_are_left_out_where_they_have_no_effect_and_only_there(network, name, position):
    options = {"group": (("groups", 2),), "lp_batch centred": (("centered", True),)}.get(name, ())
    choice = NormChoice(name=name.partition(" ")[0], position=position, options=options)
    blueprint = network(norm=choice)
    module, full = build(blueprint).double(), build(with_all_biases(blueprint)).double()
    left_out = full.load_state_dict(module.state_dict(), strict=False).missing_keys
    for key in left_out:
        full.get_parameter(key).data.normal_()
    x = torch.randn(2, *blueprint.input_shape, dtype=torch.float64)
    (y, gradients), (expected, _) = train_gradients(module, x), train_gradients(full, x)
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)
    kept = [step.name for step in layers(blueprint) if isinstance(step.layer, Conv) and step.layer.bias]
    assert all(gradients[f"{layer}.bias"].abs().max() > 1e-6 for layer in kept)
    if name in ("group", "none", "lp_batch"):
        assert not left_out
    elif position is not Position.AFTER_ACTIVATION:
        assert not kept


def test_a_bias_that_dropout_stands_behind_has_an_effect_and_stays():
    blueprint = SMALL["densenet-13-dropout"](norm=NORMS["batch"])
    found = {step.name: step.layer.bias for step in layers(blueprint) if isinstance(step.layer, Conv)}
    assert [name for name, bias in found.items() if not bias] == ["conv1"]
    module = build(blueprint).double()
    _, gradients = train_gradients(module, torch.randn(2, *CIFAR, dtype=torch.float64))
    assert all(gradients[f"{name}.bias"].abs().max() > 1e-6 for name, bias in found.items() if bias)


def neighbours(blueprint: Blueprint) -> Counter[tuple[str, str]]:
    """How often each two kinds of layers stand side by side in a chain."""
    found: Counter[tuple[str, str]] = Counter()

    def look(chain: Chain) -> Chain:
        found.update((first.kind, second.kind) for (_, first), (_, second) in pairwise(chain.layers))
        return chain

    map_chains(blueprint.body, look)
    return found


@every
def test_norms_stand_before_or_after_the_activation_as_they_are_asked_to(network):
    before, after = (network(norm=NormChoice(name="batch", position=position)) for position in POSITIONS)
    assert before == network(norm=NORMS["batch"])
    (count, none), (other_none, other_count) = (
        (found["norm", "activation"], found["activation", "norm"])
        for found in (neighbours(before), neighbours(after))
    )
    assert (none, other_none, other_count) == (0, 0, count)
    # The last norm of a residual branch, and the one of a projection, have no activation of their own to pass.
    alone = sum(layer.kind == "norm" for chain in residual_chains(before) for _, layer in chain.layers[-1:])
    assert count + alone == len(sites(before))
    assert [site.name for site in sites(after)] == [site.name for site in sites(before)]


def residual_chains(blueprint: Blueprint) -> list[Chain]:
    """Branches and shortcuts of all residual layers."""
    stages = [layer for name, layer in blueprint.body.layers if name.startswith("stage")]
    blocks = [layer for stage in stages for _, layer in stage.layers if isinstance(layer, Residual)]
    return [chain for block in blocks for chain in (block.branch, block.shortcut)]


@families
@pytest.mark.parametrize("name", ["evonorm_s0", "filter_response"])
def test_a_fused_norm_takes_the_place_of_every_activation_that_follows_one(network, name):
    plain, fused = network(norm=NORMS["batch"]), network(norm=NormChoice(name=name))
    found = Counter(step.layer.kind for step in layers(fused))
    pairs = neighbours(plain)["norm", "activation"]
    before = Counter(step.layer.kind for step in layers(plain))
    assert found["norm_activation"] == pairs
    assert found["norm"] == before["norm"] - pairs
    assert found["activation"] == before["activation"] - pairs
    assert [site.name for site in sites(fused)] == [site.name for site in sites(plain)]


def test_skip_init_gives_each_residual_branch_a_scalar_and_begins_as_the_shortcuts_alone():
    blueprint = SMALL["resnet-20"](norm=NORMS["skip_init"])
    module = build(blueprint)
    assert [name for name, _ in module.named_parameters() if name.endswith("alpha")] == [
        f"stage{stage}.block{block}.alpha" for stage in (1, 2, 3) for block in (1, 2, 3)
    ]
    x = torch.randn(2, *blueprint.input_shape)
    shortcuts = module.activation1(module.conv1(x))
    for _ in (2, 3):
        fewer = shortcuts[:, :, ::2, ::2]
        shortcuts = torch.cat((fewer, torch.zeros_like(fewer)), dim=1)
    torch.testing.assert_close(module(x), module.output(shortcuts.mean((2, 3))), rtol=1e-5, atol=1e-6)


def test_weights_of_all_layers_but_the_output_are_parametrized():
    for network in FAMILIES.values():
        module = build(network(norm=NORMS["weight"]))
        weighted = {name for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
        assert {name for name in weighted if is_parametrized(module.get_submodule(name))} == weighted - {"output"}
