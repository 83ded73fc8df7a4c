"""Residual networks, in the form for CIFAR-sized images and in the form for ImageNet-sized ones."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from models.blueprint import Blueprint, Init, NormChoice
from models.catalog.names import ActivationName, Architecture
from models.kinds.base import Layer, Named
from models.kinds.containers import IDENTITY, Chain, Residual
from models.kinds.layers import Activation, Conv, GlobalPool, Linear, Pool, ZeroPad
from models.networks.parts import conv_norm_activation
from models.placement import OUTPUT, place

Form = Literal["auto", "cifar", "imagenet"]
Shortcut = Literal["auto", "zero_pad", "projection"]

#: Blocks of each stage of the ImageNet form. He et al. 2015, table 1.
_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_CIFAR_DEPTHS = range(8, 1203, 6)


def depths(form: Form) -> Sequence[int]:
    """The depths that there are: 6n+2 up to 1202 for CIFAR, those with a table for ImageNet."""
    both = sorted({*_BLOCKS, *_CIFAR_DEPTHS})
    return {"auto": both, "cifar": _CIFAR_DEPTHS, "imagenet": tuple(_BLOCKS)}[form]


def resnet(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    depth: int,
    form: Form = "auto",
    shortcut: Shortcut = "auto",
    width: int | None = None,
    activation: ActivationName = ActivationName.RELU,
    norm: NormChoice,
    init: Init,
) -> Blueprint:
    """A stem, then stages of residual blocks, each with twice the channels and half the sides of the one before.

    He et al. 2015 (arXiv 1512.03385). `cifar` (section 4.2): three stages of n blocks, depth 6n+2, beginning with
    `width` 16, and shortcuts without weights (option A). `imagenet` (table 1): four stages that begin with
    `width` 64, bottleneck blocks at depth 50, and projections where the shape changes (option B). `auto` is
    `imagenet` for the depths 18, 34 and 50.

    Raises:
        ValueError: the form has no such depth.
    """
    if depth not in depths(form):
        raise ValueError(f"There is no ResNet-{depth} of the form {form!r}.")
    imagenet = form == "imagenet" or (form == "auto" and depth in _BLOCKS)
    width = width or (64 if imagenet else 16)
    bottleneck = imagenet and depth >= 50
    if shortcut == "auto":
        shortcut = "projection" if imagenet else "zero_pad"
    block = partial(
        _bottleneck_block if bottleneck else _basic_block, shortcut=shortcut, norm=norm, activation=activation
    )
    kernel, stride = (7, 2) if imagenet else (3, 1)
    layers: list[tuple[str, Layer]] = [
        *conv_norm_activation(1, input_shape[0], width, kernel, stride, norm=norm, activation=activation)
    ]
    if imagenet:
        layers.append(("pool1", Pool(pool="max", kernel=3, stride=2, padding=1)))
    inputs = width
    for number, count in enumerate(_BLOCKS[depth] if imagenet else [(depth - 2) // 6] * 3, start=1):
        channels = width * 2 ** (number - 1) * (4 if bottleneck else 1)
        stage = _stage(block, inputs, channels, count, stride=1 if number == 1 else 2, activation=activation)
        layers.append((f"stage{number}", stage))
        inputs = channels
    layers += [("pool", GlobalPool()), (OUTPUT, Linear(inputs=inputs, outputs=outputs))]
    return Blueprint(
        architecture=Architecture.RESNET,
        input_shape=input_shape,
        outputs=outputs,
        init=init,
        body=place(Chain(layers=tuple(layers)), norm),
    )


def _stage(
    block: Callable[[int, int, int], Residual],
    inputs: int,
    outputs: int,
    count: int,
    *,
    stride: int,
    activation: ActivationName,
) -> Chain:
    """Blocks of one size, each with an activation after its addition; the first of them changes the shape."""
    layers: list[tuple[str, Layer]] = []
    for number in range(1, count + 1):
        layers += [
            (f"block{number}", block(inputs, outputs, stride)),
            (f"activation{number}", Activation(activation=activation)),
        ]
        inputs, stride = outputs, 1
    return Chain(layers=tuple(layers))


def _basic_block(
    inputs: int, outputs: int, stride: int, *, shortcut: Shortcut, norm: NormChoice, activation: ActivationName
) -> Residual:
    """Two 3x3 convolutions. He et al. 2015, figure 5, left."""
    branch = (
        *conv_norm_activation(1, inputs, outputs, 3, stride, norm=norm, activation=activation),
        *_last_convolution(2, outputs, outputs, 3, norm),
    )
    return Residual(branch=Chain(layers=branch), shortcut=_shortcut(shortcut, inputs, outputs, stride, norm))


def _bottleneck_block(
    inputs: int, outputs: int, stride: int, *, shortcut: Shortcut, norm: NormChoice, activation: ActivationName
) -> Residual:
    """1x1 to a fourth of the channels, 3x3, and 1x1 back. He et al. 2015, figure 5, right.

    The stride is the 3x3's, as in torchvision; the paper has it at the first 1x1.
    """
    narrow = outputs // 4
    branch = (
        *conv_norm_activation(1, inputs, narrow, 1, norm=norm, activation=activation),
        *conv_norm_activation(2, narrow, narrow, 3, stride, norm=norm, activation=activation),
        *_last_convolution(3, narrow, outputs, 1, norm),
    )
    return Residual(branch=Chain(layers=branch), shortcut=_shortcut(shortcut, inputs, outputs, stride, norm))


def _last_convolution(number: int, inputs: int, outputs: int, kernel: int, norm: NormChoice) -> Named:
    """A convolution and its norm; the activation follows after the addition."""
    conv = Conv(inputs=inputs, outputs=outputs, kernel=kernel, padding=kernel // 2)
    return ((f"conv{number}", conv), (f"norm{number}", norm.site(outputs)))


def _shortcut(shortcut: Shortcut, inputs: int, outputs: int, stride: int, norm: NormChoice) -> Chain:
    """The identity, or what makes up for a change of shape. He et al. 2015, section 3.3, options A and B."""
    if (inputs, stride) == (outputs, 1):
        return IDENTITY
    if shortcut == "zero_pad":
        return Chain(layers=(("pad", ZeroPad(inputs=inputs, outputs=outputs, stride=stride)),))
    projection = Conv(inputs=inputs, outputs=outputs, kernel=1, stride=stride)
    return Chain(layers=(("conv", projection), ("norm", norm.site(outputs))))
