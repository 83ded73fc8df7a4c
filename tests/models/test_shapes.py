"""The torch-free account of a network against the module that is built from it."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.blueprint import Blueprint, Init, NormChoice
from models.build import build
from models.catalog.names import ActivationName, InitName, NormName
from models.kinds.containers import Chain
from models.kinds.layers import Activation, Flatten, Linear, Norm
from models.networks.mlp import mlp
from models.norms.base import Identity
from models.norms.batch import BatchNorm
from models.shapes import ShapeError, largest_output, layers, sites, total_parameters

sizes = st.integers(1, 9)
options = st.one_of(
    st.just(()),
    st.tuples(st.tuples(st.just("momentum"), st.floats(0.01, 1)), st.tuples(st.just("affine"), st.booleans())),
)


@st.composite
def networks(draw) -> Blueprint:
    """Any fully connected network that a spec may ask for, only smaller."""
    name = draw(st.sampled_from([NormName.NONE, NormName.BATCH]))
    chosen = draw(options) if name is NormName.BATCH else ()
    init = draw(st.sampled_from(InitName))
    return mlp(
        tuple(draw(st.lists(sizes, min_size=1, max_size=3))),
        draw(sizes),
        hidden=draw(st.lists(sizes, min_size=1, max_size=4)),
        activation=draw(st.sampled_from(ActivationName)),
        norm=NormChoice(name=name, options=chosen),
        init=Init(name=init, std=0.1 if init in (InitName.NORMAL, InitName.TRUNC_NORMAL) else None),
    )


def outputs_by_name(module: nn.Module, blueprint: Blueprint, batch: int) -> dict[str, tuple[int, ...]]:
    """What each layer really gives for one sample, by a batch that runs through."""
    found: dict[str, tuple[int, ...]] = {}
    for name, layer in module.named_modules():
        if not isinstance(layer, nn.Sequential):
            layer.register_forward_hook(lambda _, __, y, name=name: found.update({name: tuple(y.shape[1:])}))
    y = module(torch.randn(batch, *blueprint.input_shape))
    assert tuple(y.shape) == (batch, blueprint.outputs)
    return found


@settings(max_examples=60)
@given(blueprint=networks(), batch=st.integers(2, 5))
def test_layers_parameters_and_sites_equal_those_of_the_built_module(blueprint, batch):
    module = build(blueprint)
    account = layers(blueprint)
    outputs = outputs_by_name(module, blueprint, batch)
    assert {step.name: step.output for step in account} == outputs
    assert largest_output(blueprint) == max(map(math.prod, outputs.values()))
    for step in account:
        held = sum(p.numel() for p in module.get_submodule(step.name).parameters())
        assert (step.name, step.parameters) == (step.name, held)
    assert total_parameters(blueprint) == sum(p.numel() for p in module.parameters())
    built = {NormName.BATCH: BatchNorm, NormName.NONE: Identity}
    for site in sites(blueprint):
        assert type(module.get_submodule(site.name)) is built[site.norm]
        assert site.positions == 1


@settings(max_examples=30)
@given(blueprint=networks())
def test_dotted_names_of_the_state_dict_are_those_of_the_blueprint(blueprint):
    owners = {name.rpartition(".")[0] for name in build(blueprint).state_dict()}
    with_state = {
        step.name
        for step in layers(blueprint)
        if step.parameters or (isinstance(step.layer, Norm) and step.layer.norm is NormName.BATCH)
    }
    assert owners == with_state


def test_sites_of_the_papers_network_are_listed_in_order_with_their_channels():
    blueprint = mlp(
        (1, 28, 28),
        10,
        hidden=[100, 50, 20],
        activation=ActivationName.SIGMOID,
        norm=NormChoice(name=NormName.BATCH),
        init=Init(),
    )
    found = [(site.name, site.channels, site.positions) for site in sites(blueprint)]
    assert found == [("norm1", 100, 1), ("norm2", 50, 1), ("norm3", 20, 1)]
    by_hand = 784 * 100 + 2 * 100 + 100 * 50 + 2 * 50 + 50 * 20 + 2 * 20 + 20 * 10 + 10
    assert total_parameters(blueprint) == by_hand


def blueprint_of(shape: tuple[int, ...], *named) -> Blueprint:
    return Blueprint(
        architecture="test", input_shape=shape, outputs=2, init=Init(), body=Chain(layers=tuple(named))
    )


def test_nested_chains_have_dotted_names_and_pass_their_shape_on():
    inner = Chain(layers=(("linear", Linear(inputs=6, outputs=4)), ("norm", Norm(norm="batch", features=4))))
    blueprint = blueprint_of((6,), ("block1", inner), ("output", Linear(inputs=4, outputs=2)))
    module = build(blueprint)
    assert [(step.name, step.output) for step in layers(blueprint)] == [
        ("block1.linear", (4,)),
        ("block1.norm", (4,)),
        ("output", (2,)),
    ]
    assert outputs_by_name(module, blueprint, 3) == {step.name: step.output for step in layers(blueprint)}
    assert [site.name for site in sites(blueprint)] == ["block1.norm"]


def test_positions_of_a_site_are_the_values_of_one_channel_in_one_sample():
    blueprint = blueprint_of((3, 5, 4), ("norm", Norm(norm=NormName.BATCH, features=3)), ("flatten", Flatten()))
    (site,) = sites(blueprint)
    assert (site.channels, site.positions) == (3, 20)
    assert outputs_by_name(build(blueprint), replace(blueprint, outputs=60), 2)["norm"] == (3, 5, 4)


@pytest.mark.parametrize(
    ("shape", "chain", "name"),
    [
        ((4,), [("linear1", Linear(inputs=5, outputs=2))], "linear1"),
        ((1, 2, 2), [("linear1", Linear(inputs=4, outputs=2))], "linear1"),
        (
            (4,),
            [("relu", Activation(activation=ActivationName.RELU)), ("norm1", Norm(norm="batch", features=3))],
            "norm1",
        ),
        ((), [("norm1", Norm(norm="none", features=1))], "norm1"),
        (
            (4,),
            [
                ("linear1", Linear(inputs=4, outputs=3)),
                ("block", Chain(layers=(("linear2", Linear(inputs=4, outputs=2)),))),
            ],
            "block.linear2",
        ),
    ],
)
def test_a_chain_that_does_not_fit_is_refused_by_the_name_of_the_layer(shape, chain, name):
    with pytest.raises(ShapeError, match=rf"'{name}'"):
        layers(blueprint_of(shape, *chain))
