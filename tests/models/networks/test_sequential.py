"""The declared network: what its layers take follows from what comes before, and it is what torch makes of it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from models.blueprint import Init, NormChoice, from_json, to_json
from models.build import build
from models.catalog.names import ActivationName, Position
from models.kinds.containers import Residual
from models.kinds.layers import Activation, Conv, Dropout, Flatten, GlobalPool, Linear, Pool
from models.networks.sequential import INFERRED, SITE, declared, sequential
from models.shapes import ShapeError, layers, sites, total_parameters
from tests.models.networks.support import outputs_by_name

BATCH = NormChoice(name="batch")
RELU = Activation(activation=ActivationName.RELU)


def conv(channels: int, kernel: int = 3, stride: int = 1, padding: int = 1) -> Conv:
    return Conv(inputs=INFERRED, outputs=channels, kernel=kernel, stride=stride, padding=padding)


def linear(units: int) -> Linear:
    return Linear(inputs=INFERRED, outputs=units)


#: A convolution with its norm, a residual block with and one without a shortcut of its own, and two linear layers.
BLOCK = Residual(branch=declared([conv(6, stride=2), SITE]), shortcut=declared([conv(6, 1, 2, 0), SITE]))
INNER = Residual(branch=declared([SITE, RELU, conv(6)]), shortcut=declared([]))
NETWORK = [
    conv(4),
    SITE,
    RELU,
    Pool(pool="max", kernel=2, stride=2),
    BLOCK,
    Residual(branch=declared([INNER, RELU]), shortcut=declared([])),
    Pool(pool="avg", kernel=2, stride=1),
    Flatten(),
    Dropout(p=0.2),
    linear(7),
    SITE,
    RELU,
    linear(10),
]


def network(shape=(3, 12, 10), norm=BATCH, layers=NETWORK):
    return sequential(shape, 10, layers=layers, norm=norm, init=Init())


def test_names_are_kind_and_index_and_a_linear_layer_at_the_end_is_the_output():
    assert [step.name for step in layers(network())] == [
        "conv0",
        "norm1",
        "activation2",
        "pool3",
        "residual4.conv0",
        "residual4.norm1",
        "residual4.shortcut.conv0",
        "residual4.shortcut.norm1",
        "residual5.residual0.norm0",
        "residual5.residual0.activation1",
        "residual5.residual0.conv2",
        "residual5.activation1",
        "pool6",
        "flatten7",
        "dropout8",
        "linear9",
        "norm10",
        "activation11",
        "output",
    ]


def test_what_layers_take_follows_from_the_shape_before_them():
    known = {step.name: step.layer for step in layers(network())}
    taken = {name: layer.inputs for name, layer in known.items() if isinstance(layer, Conv | Linear)}
    assert taken == {
        "conv0": 3,
        "residual4.conv0": 4,
        "residual4.shortcut.conv0": 4,
        "residual5.residual0.conv2": 6,
        "linear9": 6 * 2 * 2,
        "output": 7,
    }
    assert [site.channels for site in sites(network())] == [4, 6, 6, 6, 7]


@pytest.mark.parametrize("norm", ["none", "batch", "group", "evonorm_s0", "weight", "weight_standardization"])
@pytest.mark.parametrize("position", [Position.AUTO, Position.AFTER_ACTIVATION])
def test_the_account_is_that_of_the_built_module(norm, position):
    options = {"group": (("groups", 1),), "evonorm_s0": (("groups", 1),)}
    options["weight_standardization"] = (("groups", None), ("eps", 1e-5))
    blueprint = network(norm=NormChoice(name=norm, options=options.get(norm, ()), position=position))
    module = build(blueprint)
    account = layers(blueprint)
    found = outputs_by_name(module, [step.name for step in account], torch.randn(4, 3, 12, 10))
    assert {step.name: step.output for step in account} == {
        name: tuple(output.shape[1:]) for name, output in found.items()
    }
    assert total_parameters(blueprint) == sum(parameter.numel() for parameter in module.parameters())
    assert from_json(to_json(blueprint)) == blueprint


class Reference(nn.Module):
    """The same network by hand, in torch's own layers and in the order of their parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.branch = nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6))
        self.shortcut = nn.Sequential(nn.Conv2d(4, 6, 1, 2, bias=False), nn.BatchNorm2d(6))
        self.inner = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1))
        self.last = nn.Sequential(nn.Linear(24, 7, bias=False), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 10))

    def forward(self, x):
        x = nn.functional.max_pool2d(self.first(x), 2)
        x = self.branch(x) + self.shortcut(x)
        x = x + (x + self.inner(x)).relu()
        return self.last(nn.functional.avg_pool2d(x, 2, 1).flatten(1))


def test_it_computes_what_the_same_layers_of_torch_compute():
    ours = build(network(layers=[each for each in NETWORK if not isinstance(each, Dropout)])).double()
    reference = Reference().double()
    with torch.no_grad():
        for mine, theirs in zip(ours.parameters(), reference.parameters(), strict=True):
            theirs.copy_(mine)
    x = torch.randn(6, 3, 12, 10, dtype=torch.float64)
    mine, theirs = ours(x), reference(x)
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
    mine.square().sum().backward()
    theirs.square().sum().backward()
    for p, q in zip(ours.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_bias_before_a_norm_that_absorbs_it_is_left_out_and_others_stay(norm):
    layers_before = [conv(4), SITE, conv(5), RELU, SITE, conv(2), GlobalPool(), linear(10)]
    module = build(network(norm=NormChoice(name=norm), layers=layers_before))
    biases = [module.get_submodule(name).bias is not None for name in ("conv0", "conv2", "conv5", "output")]
    assert biases == [False, True, True, True]
    kept = build(network(norm=NormChoice(name="layer"), layers=layers_before))
    assert kept.conv0.bias is not None


def test_norms_of_weights_skip_the_output_only_where_a_linear_layer_ends_the_network():
    ends_in_linear = network(norm=NormChoice(name="weight"), layers=[conv(4), GlobalPool(), linear(10)])
    ends_in_maps = network(norm=NormChoice(name="weight"), layers=[conv(4), conv(10), GlobalPool()])
    assert [step.layer.weight is not None for step in layers(ends_in_linear) if step.parameters] == [True, False]
    assert [step.layer.weight is not None for step in layers(ends_in_maps) if step.parameters] == [True, True]


def test_skip_init_scales_every_declared_branch():
    blueprint = network(norm=NormChoice(name="skip_init"))
    module = build(blueprint)
    scales = [name for name, _ in module.named_parameters() if name.endswith("alpha")]
    assert scales == ["residual4.alpha", "residual5.alpha", "residual5.residual0.alpha"]
    assert {site.norm for site in sites(blueprint)} == {"none"}


def test_after_the_activation_a_norm_changes_places_with_the_activation_behind_it():
    blueprint = network(norm=replace(BATCH, position=Position.AFTER_ACTIVATION))
    names = [name for name, _ in blueprint.body.layers]
    assert names[:3] == ["conv0", "activation2", "norm1"]
    assert names[-4:] == ["linear9", "activation11", "norm10", "output"]


def test_pools_of_whole_maps_give_their_mean_or_their_largest_value():
    x = torch.randn(2, 3, 4, 6)
    mean = build(network(layers=[GlobalPool(), linear(10)])).global_pool0(x)
    largest = build(network(layers=[GlobalPool(pool="max"), linear(10)])).global_pool0(x)
    torch.testing.assert_close(mean, nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))
    assert torch.equal(largest, nn.functional.adaptive_max_pool2d(x, 1).flatten(1))


def test_an_empty_branch_adds_the_input_to_its_shortcut():
    doubled = Residual(branch=declared([]), shortcut=declared([]))
    module = build(network(shape=(3, 2, 2), layers=[doubled, Flatten(), linear(10)]))
    x = torch.randn(2, 3, 2, 2)
    assert torch.equal(module.residual0(x), 2 * x)


@pytest.mark.parametrize(
    ("given", "name", "words"),
    [
        ([conv(4), linear(10)], "linear1", ["[4, 12, 10]", "[features]", "flatten"]),
        ([Flatten(), conv(4)], "conv1", ["[360]", "[channels, height, width]"]),
        ([conv(4), Pool(pool="max", kernel=11, stride=1)], "pool1", ["[4, 12, 10]", "11", "10"]),
        (
            [Residual(branch=declared([conv(4)]), shortcut=declared([]))],
            "residual0",
            ["[4, 12, 10]", "[3, 12, 10]"],
        ),
        (
            [Residual(branch=declared([Flatten(), SITE, conv(4)]), shortcut=declared([]))],
            "residual0.conv2",
            ["[360]"],
        ),
        (
            [Residual(branch=declared([conv(3)]), shortcut=declared([SITE, linear(10)]))],
            "residual0.shortcut.linear1",
            ["[3, 12, 10]"],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_layers_whose_shapes_do_not_meet_are_refused_by_name_with_both_shapes(given, name, words):
    with pytest.raises(ShapeError) as refused:
        network(layers=given)
    assert refused.value.name == name
    assert all(word in str(refused.value) for word in words), str(refused.value)
