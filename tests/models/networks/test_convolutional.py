"""The torch-free account of the convolutional networks against what is built; names of sites; refusals."""

import pytest
import torch
from torch import Tensor, nn

from models.blueprint import Blueprint
from models.build import build
from models.networks.densenet import densenet
from models.networks.inception import inception
from models.networks.resnet import resnet
from models.networks.vgg import vgg
from models.shapes import ShapeError, layers, sites, total_parameters
from tests.models.networks.support import ADMITTED, FULL, IMAGENET, NORMS, SMALL, of, outputs_by_name


def assert_account_is_true(blueprint: Blueprint, module: nn.Module, x: Tensor) -> None:
    """Output shapes and learned numbers of every layer, as known without torch, are the module's."""
    account = layers(blueprint)
    found = outputs_by_name(module, [step.name for step in account], x)
    assert [(step.name, step.output) for step in account] == [
        (step.name, tuple(found[step.name].shape[1:])) for step in account
    ]
    for step in account:
        # A residual layer has one number of its own beside those of the layers in it.
        held = module.get_submodule(step.name).parameters(recurse=step.layer.kind != "residual")
        assert (step.name, step.parameters) == (step.name, sum(parameter.numel() for parameter in held))
    assert total_parameters(blueprint) == sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("blueprint", ADMITTED.values(), ids=ADMITTED.keys())
def test_shapes_and_parameters_known_without_torch_are_those_of_the_module(blueprint):
    assert_account_is_true(blueprint, build(blueprint), torch.randn(2, *blueprint.input_shape))


@pytest.mark.parametrize("network", FULL.values(), ids=FULL.keys())
def test_shapes_and_parameters_are_the_modules_at_full_size(network):
    blueprint = network(norm=NORMS["batch"])
    with torch.device("meta"):
        assert_account_is_true(blueprint, build(blueprint), torch.empty(2, *blueprint.input_shape))


def site_names(network, norm="batch") -> list[str]:
    return [site.name for site in sites(network(norm=NORMS[norm]))]


@pytest.mark.parametrize("norm", NORMS)
def test_sites_of_residual_networks_are_named_by_stage_and_block_whatever_the_norm(norm):
    blocks = [f"stage{stage}.block1.norm{number}" for stage in (1, 2, 3) for number in (1, 2)]
    assert site_names(SMALL["resnet-8"], norm) == ["norm1", *blocks]
    assert site_names(SMALL["resnet-50"], norm)[:6] == [
        "norm1",
        "stage1.block1.norm1",
        "stage1.block1.norm2",
        "stage1.block1.norm3",
        "stage1.block1.shortcut.norm",
        "stage1.block2.norm1",
    ]


def test_sites_of_the_other_networks_are_named_by_their_parts():
    assert site_names(SMALL["vgg-11"]) == [
        "stage1.norm1",
        "stage2.norm1",
        *(f"stage{stage}.norm{number}" for stage in (3, 4, 5) for number in (1, 2)),
    ]
    assert site_names(of(densenet, depth=10, bottleneck=True)) == [
        "block1.layer1.norm1",
        "block1.layer1.norm2",
        "transition1.norm",
        "block2.layer1.norm1",
        "block2.layer1.norm2",
        "transition2.norm",
        "block3.layer1.norm1",
        "block3.layer1.norm2",
        "norm",
    ]
    assert site_names(SMALL["densenet-121"])[:2] == ["norm1", "block1.layer1.norm1"]
    names = site_names(SMALL["inception"])
    assert names[:3] == ["norm1", "inception3a.branch1.norm1", "inception3a.branch2.norm1"]
    assert [name for name in names if name.startswith("inception4e")] == [
        *(f"inception4e.branch2.norm{number}" for number in (1, 2)),
        *(f"inception4e.branch3.norm{number}" for number in (1, 2, 3)),
    ]
    assert names[-1] == "inception5b.branch4.norm1"


def test_channels_of_inception_modules_are_those_of_the_model_it_follows():
    blueprint = of(inception, IMAGENET, form="imagenet")(norm=NORMS["batch"])
    modules = [name for name, layer in blueprint.body.layers if layer.kind == "concat"]
    with torch.device("meta"):
        found = outputs_by_name(build(blueprint), modules, torch.empty(1, *IMAGENET))
    assert [tuple(found[name].shape[1:]) for name in modules] == [
        (256, 28, 28),
        (320, 28, 28),
        (576, 14, 14),
        *[(576, 14, 14)] * 2,
        *[(608, 14, 14)] * 2,
        (1056, 7, 7),
        *[(1024, 7, 7)] * 2,
    ]


@pytest.mark.parametrize(
    ("width", "channels"), [(1.0, 192), (0.25, 48), (0.1, 16), (1e-9, 8), (0.7, 136)], ids=str
)
def test_channels_of_a_scaled_inception_are_multiples_of_eight(width, channels):
    found = sites(of(inception, width=width)(norm=NORMS["batch"]))
    assert found[0].channels == channels
    assert all(site.channels % 8 == 0 and site.channels >= 8 for site in found)


@pytest.mark.parametrize(
    ("network", "input_shape", "layer"),
    [
        (of(vgg, (3, 8, 8), depth=11), (3, 8, 8), "pool4"),
        (of(vgg, (1, 28, 28), depth=16, form="imagenet"), (1, 28, 28), "pool5"),
        (of(densenet, (3, 3, 3), depth=13), (3, 3, 3), "transition2.pool"),
        (of(densenet, (3, 16, 16), depth=121), (3, 16, 16), "transition3.pool"),
        (of(resnet, (12,), depth=20), (12,), "conv1"),
        (of(inception, (16, 4)), (16, 4), "conv1"),
    ],
)
def test_an_image_that_is_too_small_is_refused_by_the_layer_that_it_is_too_small_for(network, input_shape, layer):
    with pytest.raises(ShapeError) as refused:
        layers(network(norm=NORMS["batch"]))
    assert refused.value.name == layer


@pytest.mark.parametrize(
    "network",
    [
        of(resnet, depth=21),
        of(resnet, depth=1208),
        of(resnet, depth=20, form="imagenet"),
        of(resnet, depth=18, form="cifar"),
        of(densenet, depth=23),
        of(densenet, depth=13, bottleneck=True),
        of(densenet, depth=121, bottleneck=False),
        of(densenet, depth=40, form="imagenet"),
    ],
)
def test_a_depth_that_a_network_does_not_have_is_refused(network):
    with pytest.raises(ValueError, match="There is no"):
        network(norm=NORMS["batch"])
