"""Learned numbers and multiply-adds of the convolutional networks against those of the literature."""

import pytest
import torch

from models.blueprint import Blueprint, Init, NormChoice
from models.build import build
from models.networks.densenet import densenet
from models.networks.inception import inception
from models.networks.resnet import resnet
from models.networks.vgg import vgg
from models.shapes import layers, total_parameters

IMAGENET = {"input_shape": (3, 224, 224), "outputs": 1000}
CIFAR = {"input_shape": (3, 32, 32), "outputs": 10}
BATCH, NONE = NormChoice(name="batch"), NormChoice(name="none")
#: Two numbers for each channel like batch norm, but the convolutions keep their biases.
LAYER = NormChoice(name="layer")


def count(network, data, norm=BATCH, **options) -> int:
    """Learned numbers of the built module, which the account without torch must agree on."""
    blueprint: Blueprint = network(**data, norm=norm, init=Init(), **options)
    with torch.device("meta"):
        module = build(blueprint)
    counted = sum(parameter.numel() for parameter in module.parameters())
    assert total_parameters(blueprint) == counted
    return counted


def convolution_biases(network, data, **options) -> int:
    """How many numbers the biases of all convolutions are."""
    blueprint = network(**data, norm=NONE, init=Init(), **options)
    return sum(step.layer.outputs for step in layers(blueprint) if step.layer.kind == "conv")


@pytest.mark.parametrize(
    ("depth", "published"),
    # Simonyan & Zisserman 2014, table 2: 133, 133, 138 and 144 million; here torchvision's num_params of VGG11_,
    # VGG13_, VGG16_ and VGG19_Weights.IMAGENET1K_V1.
    [(11, 132_863_336), (13, 133_047_848), (16, 138_357_544), (19, 143_667_240)],
)
def test_vgg_without_norms_has_the_published_count(depth, published):
    assert count(vgg, IMAGENET, NONE, depth=depth, form="imagenet") == published


@pytest.mark.parametrize(
    ("depth", "published"),
    # torchvision's num_params of VGG11_BN_ and VGG16_BN_Weights.IMAGENET1K_V1.
    [(11, 132_868_840), (16, 138_365_992)],
)
def test_vgg_with_batch_norm_has_the_published_count_but_for_biases_without_effect(depth, published):
    network = {"depth": depth, "form": "imagenet"}
    # torchvision keeps the biases of convolutions before batch norm.
    assert count(vgg, IMAGENET, LAYER, **network) == published
    assert count(vgg, IMAGENET, BATCH, **network) == published - convolution_biases(vgg, IMAGENET, **network)


@pytest.mark.parametrize(
    ("depth", "published"),
    # torchvision's num_params of ResNet18_, ResNet34_ and ResNet50_Weights.IMAGENET1K_V1.
    [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032)],
)
def test_resnet_for_imagenet_has_the_published_count(depth, published):
    assert count(resnet, IMAGENET, depth=depth) == published


@pytest.mark.parametrize(
    ("depth", "millions", "digits"),
    # He et al. 2015 (arXiv 1512.03385), table 6.
    [(20, 0.27, 2), (32, 0.46, 2), (44, 0.66, 2), (56, 0.85, 2), (110, 1.7, 1), (1202, 19.4, 1)],
)
def test_resnet_for_cifar_has_the_count_of_the_paper(depth, millions, digits):
    assert round(count(resnet, CIFAR, depth=depth) / 1e6, digits) == millions


def test_densenet_121_has_the_published_count():
    # torchvision's num_params of DenseNet121_Weights.IMAGENET1K_V1.
    assert count(densenet, IMAGENET, depth=121) == 7_978_856


@pytest.mark.parametrize(
    ("options", "millions"),
    # Huang et al. 2016 (arXiv 1608.06993), table 2.
    [
        ({"depth": 40, "growth": 12}, 1.0),
        ({"depth": 100, "growth": 12}, 7.0),
        ({"depth": 100, "growth": 24}, 27.2),
        ({"depth": 100, "growth": 12, "bottleneck": True}, 0.8),
        ({"depth": 250, "growth": 24, "bottleneck": True}, 15.3),
        ({"depth": 190, "growth": 40, "bottleneck": True}, 25.6),
    ],
    ids=str,
)
def test_densenet_for_cifar_has_the_count_of_the_paper(options, millions):
    assert round(count(densenet, CIFAR, **options) / 1e6, 1) == millions


def test_inception_has_as_many_parameters_as_the_model_it_follows():
    # The Caffe model with its biases, as ported in Cadene's pretrained-models.pytorch (bninception); the count is
    # published in the table of models of osmr/imgclsmob, row BN-Inception.
    assert count(inception, IMAGENET, LAYER, form="imagenet") == 11_295_240
    biases = convolution_biases(inception, IMAGENET, form="imagenet")
    assert count(inception, IMAGENET, BATCH, form="imagenet") == 11_295_240 - biases
    # Ioffe & Szegedy 2015, section 4.2: 13.6 million for the Inception that they start from.
    assert 11e6 < 11_295_240 - biases < 14e6


@pytest.mark.parametrize(
    ("network", "options", "billions"),
    # torchvision's _ops of the weights named above: multiply-adds of convolutions and linear layers, in units of
    # 1e9. A wrong stride or padding changes them and leaves the parameters alone.
    [
        (vgg, {"depth": 11, "form": "imagenet"}, 7.609),
        (vgg, {"depth": 13, "form": "imagenet"}, 11.308),
        (vgg, {"depth": 16, "form": "imagenet"}, 15.470),
        (vgg, {"depth": 19, "form": "imagenet"}, 19.632),
        (resnet, {"depth": 18}, 1.814),
        (resnet, {"depth": 34}, 3.664),
        (resnet, {"depth": 50}, 4.089),
        (densenet, {"depth": 121}, 2.834),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_multiply_adds_of_one_image_are_those_published(network, options, billions):
    account = layers(network(**IMAGENET, norm=BATCH, init=Init(), **options))
    counted = sum(step.operations for step in account if step.layer.kind in ("conv", "linear"))
    assert round(counted / 1e9, 3) == billions
