"""What stands next to each site."""

import pytest

from models.blueprint import Blueprint, Init, chain
from models.catalog.names import ActivationName, Architecture, NormName
from models.kinds.base import Layer
from models.kinds.containers import Chain, Concat, Dense, Residual
from models.kinds.layers import Activation, Conv, Dropout, Flatten, GlobalPool, Norm, Pool
from models.neighbours import NamedActivation, Neighbours, neighbours
from models.shapes import sites
from tests.worker.networks import combinations, small_network

CONV, NORM = Conv(inputs=3, outputs=3, kernel=1), Norm(norm="batch", features=3)
RELU, TANH = (Activation(activation=name) for name in (ActivationName.RELU, ActivationName.TANH))
DROPOUT, POOL = Dropout(p=0.5), Pool(pool="max", kernel=1, stride=1)


def found(*layers: tuple[str, Layer]) -> dict[str, Neighbours]:
    body = chain(*layers)
    return neighbours(Blueprint(architecture="test", input_shape=(3, 4, 4), outputs=3, init=Init(), body=body))


def relu(name: str) -> NamedActivation:
    return NamedActivation(name=name, activation=ActivationName.RELU)


def test_an_activation_follows_also_after_dropout():
    for between in ((), (("drop", DROPOUT),)):
        sites = found(("conv", CONV), ("norm", NORM), *between, ("act", RELU))
        assert sites == {"norm": Neighbours(layer="conv", activation=relu("act"))}


@pytest.mark.parametrize(
    "between", [("pool", POOL), ("norm2", NORM), ("conv2", CONV), ("flat", Flatten())], ids=str
)
def test_an_activation_behind_another_layer_is_not_the_sites(between):
    assert found(("conv", CONV), ("norm", NORM), between, ("act", RELU))["norm"].activation is None


def test_an_activation_before_counts_where_none_follows():
    assert found(("conv", CONV), ("act", RELU), ("drop", DROPOUT), ("norm", NORM), ("next", CONV)) == {
        "norm": Neighbours(layer="conv", activation=relu("act"))
    }
    assert found(("act", TANH), ("norm", NORM), ("after", RELU))["norm"].activation == relu("after")


@pytest.mark.parametrize("between", [RELU, DROPOUT, POOL, GlobalPool(), Flatten()], ids=lambda layer: layer.kind)
def test_the_layer_before_is_found_through_what_has_no_weights(between):
    assert found(("conv", CONV), ("between", between), ("norm", NORM))["norm"].layer == "conv"


def test_another_norm_between_hides_the_layer():
    assert found(("conv", CONV), ("norm1", NORM), ("norm2", NORM))["norm2"] == Neighbours()


def test_neighbours_go_through_nested_chains():
    inner = Chain(layers=(("norm", NORM),))
    assert found(("conv", CONV), ("inner", inner), ("act", RELU)) == {
        "inner.norm": Neighbours(layer="conv", activation=relu("act"))
    }


@pytest.mark.parametrize("kind", ["residual", "dense", "concat"])
def test_a_branch_begins_where_its_block_does_and_ends_with_a_sum_or_concatenation(kind):
    branch = chain(("norm1", NORM), ("act1", RELU), ("conv1", CONV), ("norm2", NORM))
    block, prefix = {
        "residual": (Residual(branch=branch), "block"),
        "dense": (Dense(branch=branch), "block"),
        "concat": (Concat(branches=(("one", branch), ("two", chain(("conv", CONV))))), "block.one"),
    }[kind]
    sites = found(("conv", CONV), ("norm", NORM), ("block", block), ("act", RELU), ("last", NORM))
    assert sites == {
        "norm": Neighbours(layer="conv"),
        f"{prefix}.norm1": Neighbours(activation=relu(f"{prefix}.act1")),
        f"{prefix}.norm2": Neighbours(layer=f"{prefix}.conv1"),
        "last": Neighbours(activation=relu("act")),
    }
    assert found(("conv", CONV), ("block", block))[f"{prefix}.norm1"].layer == "conv"


def test_norms_of_a_shortcut_have_its_convolution():
    shortcut = chain(("conv", CONV), ("norm", NORM))
    sites = found(("block", Residual(branch=chain(("conv1", CONV)), shortcut=shortcut)), ("act", RELU))
    assert sites == {"block.shortcut.norm": Neighbours(layer="block.shortcut.conv")}


@pytest.mark.parametrize("architecture", list(Architecture))
def test_every_site_of_every_network_has_an_entry(architecture):
    for each in combinations():
        if each[0] == architecture:
            blueprint = small_network(*each).blueprint()
            assert set(neighbours(blueprint)) == {site.name for site in sites(blueprint)}


def test_norms_of_a_cell_have_the_weights_whose_products_they_take():
    gru = neighbours(small_network(Architecture.GRU, NormName.LAYER).blueprint())
    assert {site: each.layer for site, each in gru.items()} == {
        "gru1.norm_input": "gru1.weight_input",
        "gru1.norm_input_candidate": "gru1.weight_input",
        "gru1.norm_hidden": "gru1.weight_hidden",
        "gru1.norm_hidden_candidate": "gru1.weight_hidden",
    }
    units = small_network(Architecture.GRU, NormName.LAYER).architecture.hidden[0]
    assert {site: each.rows for site, each in gru.items()} == {
        "gru1.norm_input": (0, 2 * units),
        "gru1.norm_input_candidate": (2 * units, 3 * units),
        "gru1.norm_hidden": (0, 2 * units),
        "gru1.norm_hidden_candidate": (2 * units, 3 * units),
    }
    lstm = neighbours(small_network(Architecture.LSTM, NormName.BATCH).blueprint())
    assert lstm["lstm1.norm_cell"] == Neighbours()
