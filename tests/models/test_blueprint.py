"""Blueprints: every kind is known everywhere, rewrites put norms in their places, and JSON holds the whole."""

import json
from dataclasses import replace

import pytest
import torch

from db.spec.architectures import union as architecture_parts
from db.spec.norms import union as norm_parts
from models.blueprint import (
    KINDS,
    Blueprint,
    Init,
    NormChoice,
    chain,
    from_json,
    layer_from_json,
    map_chains,
    to_json,
)
from models.build import ACTIVATIONS, BUILDERS, build, build_layer
from models.catalog.names import ActivationName, Architecture, InitName, NormName, Position
from models.catalog.records import Form
from models.catalog.registry import architectures, norms
from models.init import SCHEMES
from models.kinds.base import Layer
from models.kinds.containers import Chain, Concat, Dense, Residual
from models.kinds.layers import (
    Activation,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Linear,
    Norm,
    NormActivation,
    Parametrization,
    Pool,
    ZeroPad,
)
from models.kinds.sequences import (
    Attention,
    LastStep,
    MeanToken,
    Patchify,
    PositionalEmbedding,
    Recurrent,
    Rows,
)
from models.measures import MEASURES
from models.norms.table import NORM_LAYERS
from models.placement import absorbs_bias, leave_out_absorbed_biases, place
from models.shapes import walk

RELU = Activation(activation=ActivationName.RELU)
CONV = Conv(inputs=4, outputs=4, kernel=3, padding=1)
SITE = Norm(norm=NormName.BATCH, features=4)
CELL_NORMS = tuple((name, Norm(norm="none", features=n)) for name, n in [("norm_input", 20), ("norm_hidden", 20)])

#: One layer of each kind, and the shape of a sample that it takes.
EXAMPLES: dict[type[Layer], tuple[Layer, tuple[int, ...]]] = {
    Flatten: (Flatten(), (2, 3)),
    Linear: (
        Linear(inputs=4, outputs=3, weight=Parametrization(norm="spectral", options=(("eps", 1e-9),))),
        (4,),
    ),
    Conv: (Conv(inputs=4, outputs=2, kernel=3, stride=2, bias=False), (4, 7, 6)),
    Pool: (Pool(pool="max", kernel=3, stride=2, padding=1, ceil=True), (4, 7, 6)),
    GlobalPool: (GlobalPool(), (4, 7, 6)),
    Activation: (RELU, (4,)),
    Dropout: (Dropout(p=0.3), (4,)),
    Norm: (replace(SITE, options=(("momentum", None), ("affine", True))), (4,)),
    NormActivation: (NormActivation(norm=NormName.EVONORM_S0, features=4, options=(("groups", 2),)), (4, 3, 3)),
    ZeroPad: (ZeroPad(inputs=4, outputs=6, stride=2), (4, 5, 5)),
    Chain: (chain(("a", Linear(inputs=4, outputs=2))), (4,)),
    Residual: (Residual(branch=chain(("conv", CONV)), shortcut=chain(("norm", SITE)), skip_init=True), (4, 5, 5)),
    Dense: (Dense(branch=chain(("conv", CONV))), (4, 5, 5)),
    Concat: (Concat(branches=(("one", chain(("conv", CONV))), ("two", chain(("norm", SITE))))), (4, 5, 5)),
    Rows: (Rows(), (2, 3, 5)),
    Recurrent: (
        Recurrent(
            cell="lstm",
            inputs=4,
            units=5,
            steps=3,
            norms=(*CELL_NORMS, ("norm_cell", Norm(norm="none", features=5))),
        ),
        (3, 4),
    ),
    LastStep: (LastStep(), (3, 4)),
    Patchify: (Patchify(inputs=4, features=5, patch=2), (4, 6, 4)),
    PositionalEmbedding: (PositionalEmbedding(tokens=3, features=4), (3, 4)),
    Attention: (Attention(features=4, heads=2, dropout=0.1), (3, 4)),
    MeanToken: (MeanToken(), (3, 4)),
}
kinds = pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.kind)


@kinds
def test_every_kind_is_built_and_measured_alike(kind):
    layer, shape = EXAMPLES[kind]
    module, found = build_layer(layer), []
    output = walk("layer", layer, shape, found)
    assert tuple(module(torch.randn(2, *shape)).shape[1:]) == output
    assert sum(step.parameters for step in found) == sum(p.numel() for p in module.parameters())


@kinds
def test_every_kind_goes_to_json_and_back(kind):
    layer, _ = EXAMPLES[kind]
    text = json.dumps(to_json(layer), allow_nan=False)
    assert json.loads(text)["kind"] == kind.kind
    assert layer_from_json(json.loads(text)) == layer


def test_builders_measures_and_json_know_exactly_the_kinds_that_there_are():
    containers = {Chain, Residual, Dense, Concat}
    assert set(BUILDERS) == set(KINDS.values()) == set(EXAMPLES)
    assert set(MEASURES) == set(EXAMPLES) - containers


def test_every_name_of_the_catalogue_has_its_layer_its_entry_and_its_part_of_the_spec():
    assert set(ACTIVATIONS) == set(ActivationName)
    assert set(SCHEMES) | {InitName.DEFAULT, InitName.NORMAL, InitName.TRUNC_NORMAL} == set(InitName)
    assert list(norms()) == [name.value for name in NormName]
    assert list(architectures()) == [name.value for name in Architecture]
    at_sites = {name for name, info in norms().items() if info.form in (Form.LAYER, Form.FUSED)}
    assert {str(name) for name in NORM_LAYERS} == at_sites
    for parts, known in ((norm_parts.PARTS, norms()), (architecture_parts.PARTS, architectures())):
        names = [name for part in parts for name in part.model_fields["name"].annotation.__args__]
        assert sorted(names) == sorted(known)
    assert all(set(info.norms) <= set(norms()) for info in architectures().values())


@pytest.mark.parametrize("norm", list(NormName))
def test_biases_are_left_out_before_norms_that_absorb_them_and_stay_before_others(norm):
    site = Norm(norm=norm, features=4)
    block = Residual(branch=chain(("conv", CONV), ("norm", site)), shortcut=chain(("conv", CONV), ("norm", site)))
    body = chain(("block", block), ("linear", Linear(inputs=4, outputs=4)), ("relu", RELU), ("norm", site))
    rewritten = map_chains(body, leave_out_absorbed_biases)
    (_, block), (_, linear), *_ = rewritten.layers
    absorbs = absorbs_bias(NormChoice(name=norm))
    assert block.branch.layers[0][1].bias is not absorbs
    assert block.shortcut.layers[0][1].bias is not absorbs
    assert linear.bias is True
    assert map_chains(rewritten, leave_out_absorbed_biases) == rewritten


def test_the_batch_family_and_instance_norm_absorb_biases():
    absorbing = {name for name in norms() if absorbs_bias(NormChoice(name=name))}
    family = {"batch", "sync_batch", "ghost_batch", "batch_renorm"}
    assert absorbing == {*family, "instance"}
    assert not any(absorbs_bias(NormChoice(name=name, position=Position.AFTER_ACTIVATION)) for name in absorbing)


def test_lp_batch_norm_absorbs_biases_only_where_its_scale_is_of_centred_values():
    for centered in (True, False):
        assert absorbs_bias(NormChoice(name="lp_batch", options=(("centered", centered),))) is centered
        conv = placed("lp_batch", options=(("p", 2), ("centered", centered)))["conv1"]
        assert conv.bias is not centered


def test_noisy_batch_norm_absorbs_biases_only_where_it_normalizes():
    for normalize in (True, False):
        assert absorbs_bias(NormChoice(name="noisy_batch", options=(("normalize", normalize),))) is normalize


def test_a_norm_that_needs_an_option_to_absorb_biases_has_that_option():
    for part in norm_parts.PARTS:
        for name in part.model_fields["name"].annotation.__args__:
            needed = norms()[name].absorbs_bias_if
            assert not needed or (norms()[name].absorbs_bias and needed in part.model_fields)
    assert norms()["lp_batch"].absorbs_bias_if == "centered"


def placed(norm: str, position: Position = Position.AUTO, options=()) -> dict[str, Layer]:
    """Convolution, norm and activation, then a residual block that ends in a norm, as the norm wants them."""
    choice = NormChoice(name=norm, options=options, position=position)
    block = Residual(branch=chain(("conv2", CONV), ("norm2", choice.site(4))))
    body = chain(("conv1", CONV), ("norm1", choice.site(4)), ("relu", RELU), ("block", block), ("output", CONV))
    return dict(place(body, choice).layers)


def test_a_norm_after_the_activation_changes_places_with_it_and_the_bias_stays():
    layers = placed("batch", Position.AFTER_ACTIVATION)
    assert list(layers) == ["conv1", "relu", "norm1", "block", "output"]
    assert layers["conv1"].bias is True
    assert list(placed("batch")) == ["conv1", "norm1", "relu", "block", "output"]
    assert placed("batch")["conv1"].bias is False


def test_a_fused_norm_takes_the_place_of_norm_and_activation_where_there_is_one():
    layers = placed("filter_response")
    assert list(layers) == ["conv1", "norm1", "block", "output"]
    assert isinstance(layers["norm1"], NormActivation)
    assert isinstance(layers["block"].branch.layers[1][1], Norm)


def test_norms_of_weights_change_all_layers_but_the_output_and_leave_identities():
    layers = placed("weight_standardization", options=(("groups", 2), ("eps", 0.1)))
    expected = Parametrization(norm="weight_standardization", options=(("eps", 0.1),))
    assert layers["conv1"].weight == layers["block"].branch.layers[0][1].weight == expected
    assert layers["output"].weight is None
    assert layers["norm1"] == Norm(norm="group", features=4, options=(("groups", 2),))
    assert placed("spectral")["norm1"] == Norm(norm="none", features=4)


def test_skip_init_marks_every_residual_branch():
    layers = placed("skip_init")
    assert layers["block"].skip_init is True
    assert layers["norm1"].norm == "none"


@pytest.mark.parametrize("name", list(InitName))
def test_json_holds_the_init(name):
    init = Init(name=name, std=0.02 if "normal" in name else None)
    blueprint = Blueprint(architecture="test", input_shape=(4,), outputs=4, init=init, body=chain(("norm", SITE)))
    written = json.loads(json.dumps(to_json(blueprint)))
    assert written["init"] == {"name": name.value, "std": init.std}
    assert from_json(written) == blueprint


def test_weights_are_drawn_before_they_are_parametrized():
    weight = Parametrization(norm="weight", options=())
    init = Init(name=InitName.NORMAL, std=3.0)
    body = chain(("linear", Linear(inputs=400, outputs=50, weight=weight)))
    torch.manual_seed(0)
    model = build(Blueprint(architecture="test", input_shape=(400,), outputs=50, init=init, body=body))
    assert model.linear.weight.std().item() == pytest.approx(3.0, rel=0.05)
    assert model.linear.bias.abs().max() == 0
