"""What a spec says of the convolutional networks: defaults, depths that there are, images that fit."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from db.spec.job import JobSpec
from models.shapes import layers, sites, total_parameters
from tests.db.support import make_spec

CIFAR10, MNIST, DIGITS = {"name": "cifar10"}, {"name": "mnist"}, {"name": "digits"}


def spec_of(dataset=CIFAR10, norm="batch", **architecture: Any) -> JobSpec:
    return make_spec(dataset=dataset, norm={"name": norm}, architecture=architecture)


def refusal(**changes: Any) -> dict[str, Any]:
    """Code, context and message of the one error that a spec is refused for."""
    with pytest.raises(ValidationError) as refused:
        spec_of(**changes)
    (error,) = refused.value.errors(include_url=False)
    return {"code": error["type"], "message": error["msg"], **error.get("ctx", {})}


@pytest.mark.parametrize(
    ("given", "defaults"),
    [
        (
            {"name": "vgg", "depth": 11},
            {"form": "cifar", "width": 64, "activation": "relu", "dropout": None},
        ),
        (
            {"name": "resnet", "depth": 20},
            {"form": "auto", "shortcut": "auto", "width": None, "activation": "relu"},
        ),
        (
            {"name": "densenet", "depth": 22},
            {
                "form": "auto",
                "growth": None,
                "bottleneck": None,
                "compression": None,
                "activation": "relu",
                "dropout": 0.0,
            },
        ),
        (
            {"name": "inception"},
            {"form": "cifar", "width": 1.0, "activation": "relu", "dropout": 0.0},
        ),
    ],
    ids=lambda value: value.get("name"),
)
def test_what_is_not_given_has_its_default_and_reads_back_the_same(given, defaults):
    spec = spec_of(**given)
    written = json.loads(json.dumps(spec.to_json()))
    assert written["architecture"] == given | defaults | {"init": {"name": "default"}}
    assert JobSpec.model_validate(written).blueprint() == spec.blueprint()


@pytest.mark.parametrize(
    ("left_out", "spelled_out"),
    [
        ({"name": "vgg", "depth": 11}, {"dropout": 0.0}),
        ({"name": "vgg", "depth": 11, "form": "imagenet"}, {"dropout": 0.5}),
        ({"name": "resnet", "depth": 20}, {"form": "cifar", "shortcut": "zero_pad", "width": 16}),
        ({"name": "resnet", "depth": 50}, {"form": "imagenet", "shortcut": "projection", "width": 64}),
        (
            {"name": "densenet", "depth": 22},
            {"form": "cifar", "growth": 12, "bottleneck": False, "compression": 1.0},
        ),
        ({"name": "densenet", "depth": 22, "bottleneck": True}, {"growth": 12, "compression": 0.5}),
        (
            {"name": "densenet", "depth": 121},
            {"form": "imagenet", "growth": 32, "bottleneck": True, "compression": 0.5},
        ),
    ],
    ids=str,
)
def test_null_and_auto_stand_for_the_values_of_the_networks_form(left_out, spelled_out):
    assert spec_of(**left_out).blueprint() == spec_of(**left_out | spelled_out).blueprint()


def test_every_option_reaches_the_network():
    plain = {
        "vgg": {"depth": 11},
        "resnet": {"depth": 14},
        "densenet": {"depth": 22},
        "inception": {},
    }
    changes = {
        "vgg": [{"depth": 13}, {"width": 8}, {"activation": "tanh"}, {"dropout": 0.1}],
        "resnet": [{"depth": 8}, {"shortcut": "projection"}, {"width": 8}, {"activation": "gelu"}],
        "densenet": [
            {"depth": 25},
            {"growth": 4},
            {"bottleneck": True},
            {"compression": 0.5},
            {"activation": "silu"},
            {"dropout": 0.2},
        ],
        "inception": [{"form": "imagenet"}, {"width": 0.5}, {"activation": "tanh"}, {"dropout": 0.1}],
    }
    for name, options in plain.items():
        kaiming = {"init": {"name": "kaiming_normal"}}
        made = [spec_of(name=name, **options | change).blueprint() for change in ({}, kaiming, *changes[name])]
        assert all(one != other for index, one in enumerate(made) for other in made[:index])


@pytest.mark.parametrize(
    ("architecture", "near"),
    [
        ({"name": "resnet", "depth": 21}, [14, 18, 20, 26, 32]),
        ({"name": "resnet", "depth": 49}, [38, 44, 50, 56, 62]),
        ({"name": "resnet", "depth": 1201}, [1178, 1184, 1190, 1196, 1202]),
        ({"name": "resnet", "depth": 18, "form": "cifar"}, [8, 14, 20, 26, 32]),
        ({"name": "resnet", "depth": 20, "form": "imagenet"}, [18, 34, 50]),
        ({"name": "densenet", "depth": 23}, [16, 19, 22, 25, 28]),
        ({"name": "densenet", "depth": 37, "bottleneck": True}, [22, 28, 34, 40, 46]),
        ({"name": "densenet", "depth": 40, "form": "imagenet"}, [121]),
    ],
    ids=str,
)
def test_a_depth_that_there_is_not_is_refused_with_those_near_it(architecture, near):
    error = refusal(**architecture)
    assert (error["code"], error["pointer"]) == ("unknown_depth", "/architecture/depth")
    assert error["allowed"] == near
    assert all(str(depth) in error["message"] for depth in near)
    sizes = {total_parameters(spec_of(**architecture | {"depth": depth}).blueprint()) for depth in near}
    assert len(sizes) == len(near)


@pytest.mark.parametrize(
    ("architecture", "code"),
    [
        ({"name": "resnet", "depth": 1208}, "less_than_equal"),
        ({"name": "resnet", "depth": 2}, "greater_than_equal"),
        ({"name": "resnet", "depth": "20"}, "int_type"),
        ({"name": "resnet", "depth": 20.0}, "int_type"),
        ({"name": "resnet"}, "missing"),
        ({"name": "vgg", "depth": 12}, "literal_error"),
        ({"name": "densenet", "depth": 403}, "less_than_equal"),
        ({"name": "densenet", "depth": 22, "compression": 0.0}, "greater_than"),
        ({"name": "densenet", "depth": 22, "growth": 0}, "greater_than_equal"),
        ({"name": "inception", "width": 0}, "greater_than"),
        ({"name": "inception", "width": 17}, "less_than_equal"),
    ],
    ids=str,
)
def test_a_value_out_of_range_is_refused(architecture, code):
    assert refusal(**architecture)["code"] == code


def test_the_imagenet_form_of_densenet_is_refused_without_bottlenecks():
    error = refusal(name="densenet", depth=121, bottleneck=False)
    assert (error["code"], error["pointer"]) == ("bottleneck_needed", "/architecture/bottleneck")
    # The way out that the message names.
    spec = spec_of(name="densenet", depth=121, bottleneck=False, form="cifar", growth=2)
    assert len(sites(spec.blueprint())) == 3 * 39 + 2 + 1


@pytest.mark.parametrize(
    ("dataset", "architecture", "layer"),
    [
        (DIGITS, {"name": "vgg", "depth": 11}, "pool4"),
        (MNIST, {"name": "vgg", "depth": 16, "form": "imagenet"}, "pool5"),
        (DIGITS, {"name": "densenet", "depth": 121}, "transition2.pool"),
    ],
    ids=str,
)
def test_an_image_that_is_too_small_is_refused_with_the_layer(dataset, architecture, layer):
    error = refusal(dataset=dataset, **architecture)
    assert (error["code"], error["pointer"]) == ("shape_mismatch", "/architecture")
    assert f"'{layer}'" in error["message"]


@pytest.mark.parametrize(
    ("dataset", "architecture"),
    [
        (CIFAR10, {"name": "vgg", "depth": 19, "width": 4}),
        (CIFAR10, {"name": "vgg", "depth": 11, "width": 4, "form": "imagenet"}),
        (DIGITS, {"name": "resnet", "depth": 8}),
        (MNIST, {"name": "resnet", "depth": 50, "width": 4}),
        (DIGITS, {"name": "densenet", "depth": 10, "bottleneck": True}),
        (CIFAR10, {"name": "densenet", "depth": 121, "growth": 4}),
        (MNIST, {"name": "inception", "width": 0.1}),
        (MNIST, {"name": "inception", "width": 0.1, "form": "imagenet"}),
    ],
    ids=str,
)
def test_images_that_are_large_enough_end_in_the_classes_of_the_data(dataset, architecture):
    assert layers(spec_of(dataset=dataset, **architecture).blueprint())[-1].output == (10,)


def test_skip_init_is_taken_by_the_residual_network_alone():
    assert spec_of(name="resnet", depth=8, norm="skip_init").norm.name == "skip_init"
    for architecture in ({"name": "vgg", "depth": 11}, {"name": "densenet", "depth": 13}, {"name": "inception"}):
        assert refusal(norm="skip_init", **architecture)["code"] == "norm_not_taken"


def test_instance_norm_is_refused_where_the_last_maps_are_single_values():
    error = refusal(name="resnet", depth=18, norm="instance")
    assert (error["code"], error["pointer"]) == ("one_value_per_channel", "/norm/name")
    assert spec_of(name="resnet", depth=20, norm="instance").norm.name == "instance"


@pytest.mark.parametrize(
    ("architecture", "groups"),
    [
        ({"name": "resnet", "depth": 20}, [1, 2, 4, 8, 16]),
        ({"name": "densenet", "depth": 22}, [1, 2, 4]),
        ({"name": "inception", "width": 0.25}, [1, 2, 4, 8]),
    ],
    ids=str,
)
def test_groups_that_do_not_divide_the_channels_are_refused_with_those_that_do(architecture, groups):
    with pytest.raises(ValidationError) as refused:
        make_spec(dataset=CIFAR10, norm={"name": "group"}, architecture=architecture)
    (error,) = refused.value.errors(include_url=False)
    assert (error["type"], error["ctx"]["allowed"]) == ("channels_not_divisible", groups)
    for number in groups:
        norm = {"name": "group", "groups": number}
        assert make_spec(dataset=CIFAR10, norm=norm, architecture=architecture).norm.groups == number
