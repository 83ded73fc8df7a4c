"""Which sites fold, and with which reason the others are left."""

import pytest
import torch

from models.blueprint import Blueprint, Init, NormChoice, chain
from models.catalog.names import Position
from models.fold import fold
from models.kinds.containers import Concat, Dense, Residual
from models.kinds.layers import Dropout, Linear, Norm, Parametrization
from models.kinds.sequences import MeanToken, Recurrent, Rows
from models.shapes import sites
from tests.models.folding import IMAGE, RELU, assert_same_outputs, batch, conv, network, of_layers, trained_state


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(5)


@pytest.mark.parametrize("architecture", ["mlp", "cnn", "vgg", "resnet", "inception"])
def test_every_site_of_a_network_with_its_norms_after_its_layers_folds(architecture):
    blueprint = network(architecture, NormChoice(name="batch"))
    folded = fold(blueprint, trained_state(blueprint, torch.float64))
    assert folded.left == {}
    assert sites(folded.blueprint) == []
    assert not any("norm" in name for name in folded.state)


def test_of_a_densenet_only_the_norm_between_its_two_convolutions_folds():
    blueprint = network("densenet", NormChoice(name="batch"))
    folded = fold(blueprint, trained_state(blueprint, torch.float64))
    gone = {site.name for site in sites(blueprint)} - set(folded.left)
    assert gone == {f"block{block}.layer1.norm2" for block in (1, 2, 3)}
    assert {site.name for site in sites(folded.blueprint)} == set(folded.left)
    assert folded.left["block1.layer1.norm1"] == "it stands at the start of a chain"


@pytest.mark.parametrize("name", ["evonorm_b0", "evonorm_s0", "filter_response"])
def test_norms_that_are_the_activation_too_are_left(name):
    options = (("groups", 2),) if name == "evonorm_s0" else ()
    blueprint = network("cnn", NormChoice(name=name, options=options))
    state = trained_state(blueprint, torch.float32)
    folded = fold(blueprint, state)
    assert folded.left == dict.fromkeys(("norm1", "norm2"), "it is norm and activation in one")
    assert (folded.blueprint, folded.state.keys()) == (blueprint, state.keys())


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_norms_after_the_activation_are_all_left(architecture):
    blueprint = network(architecture, NormChoice(name="batch", position=Position.AFTER_ACTIVATION))
    state = trained_state(blueprint, torch.float32)
    folded = fold(blueprint, state)
    assert folded.blueprint == blueprint
    assert folded.state.keys() == state.keys()
    assert set(folded.left) == {"norm1", "norm2"}
    assert folded.left["norm1"] == (
        "it stands after 'activation1' (activation), which is no linear layer or convolution"
    )


@pytest.mark.parametrize(
    ("norm", "reason"),
    [
        (batch(track=False), "it keeps no running averages: eval mode uses those of the batch"),
        (batch(name="noisy_batch", normalize=False), "it only adds noise, and only in train mode"),
        (batch(name="none"), "there is no norm, only an identity"),
        (batch(name="layer"), "norm 'layer' is not of the batch family"),
        (
            batch(name="of_a_package"),
            "norm 'of_a_package' is not of the batch family",
        ),
    ],
    ids=["untracked", "noise alone", "none", "layer", "plugin"],
)
def test_a_norm_that_eval_mode_does_not_fix_is_left_with_the_reason(norm, reason):
    blueprint = Blueprint(
        architecture="", input_shape=IMAGE, outputs=0, init=Init(), body=chain(("conv", conv()), ("norm", norm))
    )
    folded = fold(blueprint, {"conv.weight": torch.ones(4, 3, 3, 3)})
    assert folded.left == {"norm": reason}
    assert folded.blueprint == blueprint


@pytest.mark.parametrize("norm", ["weight", "spectral", "weight_standardization"])
def test_a_norm_after_computed_weights_is_left_and_names_them(norm):
    options = (("eps", 1e-5),) if norm != "weight" else ()
    computed = conv(weight=Parametrization(norm=norm, options=options))
    blueprint = of_layers(("conv", computed), ("norm", batch()))
    state = trained_state(blueprint, torch.float32)
    folded = fold(blueprint, state)
    assert folded.left == {"norm": f"the weights of 'conv' before it are computed by norm '{norm}'"}
    assert folded.blueprint == blueprint
    assert folded.state.keys() == state.keys()


def test_a_norm_with_anything_in_between_is_left():
    blueprint = of_layers(("conv", conv()), ("dropout", Dropout(p=0.5)), ("norm", batch()))
    folded = fold(blueprint, trained_state(blueprint, torch.float32))
    assert folded.left == {"norm": "it stands after 'dropout' (dropout), which is no linear layer or convolution"}


def test_inside_residual_dense_and_concatenated_branches_only_what_follows_a_layer_folds():
    branch = chain(("conv", conv()), ("norm", batch()), ("relu", RELU))
    blueprint = of_layers(
        ("first", Concat(branches=(("a", branch), ("b", conv()), ("c", batch(3))))),
        ("norm", batch(11)),
        ("dense", Dense(branch=chain(("norm1", batch(11)), ("conv1", conv(inputs=11)), ("norm2", batch())))),
        ("norm3", batch(15)),
        (
            "residual",
            Residual(
                branch=chain(("conv", conv(inputs=15)), ("norm", batch())),
                shortcut=chain(("conv", conv(inputs=15, bias=True)), ("norm", batch()), ("relu", RELU)),
            ),
        ),
        ("inner", chain(("norm", batch()), ("conv", conv(inputs=4)))),
        ("last", batch()),
    )
    state = trained_state(blueprint, torch.float64)
    folded = fold(blueprint, state)
    assert_same_outputs(blueprint, state, folded)
    start = "it stands at the start of a chain"
    assert folded.left == {
        "first.c": start,
        "norm": "it stands after 'first' (concat), which is no linear layer or convolution",
        "dense.norm1": start,
        "norm3": "it stands after 'dense' (dense), which is no linear layer or convolution",
        "inner.norm": start,
        "last": "it stands after 'inner' (chain), which is no linear layer or convolution",
    }
    assert {site.name for site in sites(folded.blueprint)} == set(folded.left)


def test_norms_in_a_recurrent_layer_are_left():
    names = {"norm_input": 12, "norm_hidden": 12, "norm_cell": 3}
    norms = tuple((name, batch(features, steps=8)) for name, features in names.items())
    cell = Recurrent(cell="lstm", inputs=24, units=3, steps=8, norms=norms)
    blueprint = of_layers(("rows", Rows()), ("lstm", cell), ("mean", MeanToken()))
    state = trained_state(blueprint, torch.float32)
    folded = fold(blueprint, state)
    assert folded.left == {f"lstm.{name}": "it stands in a recurrent layer" for name in names}
    assert folded.state.keys() == state.keys()


def test_a_norm_of_tokens_folds_into_the_linear_layer_before_it():
    site = Norm(norm="batch", features=6, tokens=True)
    blueprint = of_layers(("rows", Rows()), ("linear", Linear(inputs=24, outputs=6)), ("norm", site))
    state = trained_state(blueprint, torch.float64)
    folded = fold(blueprint, state)
    assert_same_outputs(blueprint, state, folded)
    assert folded.left == {}


def test_a_state_that_lacks_something_is_refused():
    blueprint = of_layers(("conv", conv()), ("norm", batch()))
    state = trained_state(blueprint, torch.float32)
    with pytest.raises(KeyError, match=r"conv\.weight"):
        fold(blueprint, {name: value for name, value in state.items() if name != "conv.weight"})
    with pytest.raises(RuntimeError, match="running_var"):
        fold(blueprint, {name: value for name, value in state.items() if name != "norm.running_var"})
