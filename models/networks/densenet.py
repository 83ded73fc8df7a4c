"""Networks in which every layer sees the outputs of all layers before it in its block."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from models.blueprint import Blueprint, Init, NormChoice
from models.catalog.names import ActivationName, Architecture
from models.kinds.base import Layer, Named
from models.kinds.containers import Chain, Dense
from models.kinds.layers import Activation, Conv, Dropout, GlobalPool, Linear, Pool
from models.networks.parts import conv_norm_activation
from models.placement import OUTPUT, absorbs_bias, place

Form = Literal["auto", "cifar", "imagenet"]

#: Layers of each block of the ImageNet form. Huang et al. 2016, table 1.
_BLOCKS = {121: (6, 12, 24, 16)}


def is_imagenet(depth: int, form: Form) -> bool:
    """Whether a network of this depth has the ImageNet form."""
    return form == "imagenet" or (form == "auto" and depth in _BLOCKS)


def depths(*, imagenet: bool, bottleneck: bool) -> Sequence[int]:
    """The depths that there are: 3n+4, or 6n+4 with bottlenecks, up to 400 for CIFAR; 121 for ImageNet."""
    if imagenet:
        return tuple(_BLOCKS) if bottleneck else ()
    return range(10, 401, 6) if bottleneck else range(7, 401, 3)


def densenet(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    depth: int,
    form: Form = "auto",
    growth: int | None = None,
    bottleneck: bool | None = None,
    compression: float | None = None,
    activation: ActivationName = ActivationName.RELU,
    dropout: float = 0.0,
    norm: NormChoice,
    init: Init,
) -> Blueprint:
    """A stem, then dense blocks with transitions that halve the sides between, then norm and activation.

    Huang et al. 2016 (arXiv 1608.06993). `cifar` (section 3, implementation details): three blocks, `growth` 12
    unless it is given, no bottlenecks unless asked. `imagenet` (table 1): blocks of 6, 12, 24 and 16 layers,
    `growth` 32, bottlenecks. `compression` is the share of the channels that a transition keeps: 0.5 with
    bottlenecks (DenseNet-BC), otherwise 1. `auto` is `imagenet` for depth 121.

    Raises:
        ValueError: the form has no such depth.
    """
    imagenet = is_imagenet(depth, form)
    bottleneck = imagenet if bottleneck is None else bottleneck
    if depth not in depths(imagenet=imagenet, bottleneck=bottleneck):
        raise ValueError(f"There is no DenseNet of depth {depth} and form {form!r} (bottleneck: {bottleneck}).")
    growth = growth or (32 if imagenet else 12)
    compression = compression or (0.5 if bottleneck else 1.0)
    convolution = partial(_norm_activation_conv, activation=activation, dropout=dropout, norm=norm)
    channels = 2 * growth if bottleneck else 16
    layers: list[tuple[str, Layer]] = [*_stem(input_shape[0], channels, imagenet, norm, activation)]
    blocks = _BLOCKS[depth] if imagenet else [(depth - 4) // (6 if bottleneck else 3)] * 3
    for number, count in enumerate(blocks, start=1):
        if number > 1:
            kept = max(1, int(compression * channels))
            layers.append((f"transition{number - 1}", _transition(convolution, channels, kept)))
            channels = kept
        layers.append((f"block{number}", _block(convolution, channels, growth, count, bottleneck=bottleneck)))
        channels += count * growth
    layers += [
        ("norm", norm.site(channels)),
        ("activation", Activation(activation=activation)),
        ("pool", GlobalPool()),
        (OUTPUT, Linear(inputs=channels, outputs=outputs)),
    ]
    return Blueprint(
        architecture=Architecture.DENSENET,
        input_shape=input_shape,
        outputs=outputs,
        init=init,
        body=place(Chain(layers=tuple(layers)), norm),
    )


def _stem(inputs: int, outputs: int, imagenet: bool, norm: NormChoice, activation: ActivationName) -> Named:
    """The first convolution; in the ImageNet form with norm, activation and pooling."""
    if imagenet:
        pool = Pool(pool="max", kernel=3, stride=2, padding=1)
        return (
            *conv_norm_activation(1, inputs, outputs, 7, 2, norm=norm, activation=activation),
            ("pool1", pool),
        )
    # Nothing but norms takes its outputs.
    return (("conv1", Conv(inputs=inputs, outputs=outputs, kernel=3, padding=1, bias=not absorbs_bias(norm))),)


def _block(
    convolution: Callable[[str, int, int, int], Named], inputs: int, growth: int, count: int, *, bottleneck: bool
) -> Chain:
    """Layers that each add `growth` channels, by a 3x3 convolution or by 1x1 and 3x3. Section 3, H and H-B."""
    layers = []
    for number in range(1, count + 1):
        if bottleneck:
            branch = convolution("1", inputs, 4 * growth, 1) + convolution("2", 4 * growth, growth, 3)
        else:
            branch = convolution("1", inputs, growth, 3)
        layers.append((f"layer{number}", Dense(branch=Chain(layers=branch))))
        inputs += growth
    return Chain(layers=tuple(layers))


def _transition(convolution: Callable[[str, int, int, int], Named], inputs: int, outputs: int) -> Chain:
    """A 1x1 convolution, then the mean of each 2x2 square."""
    return Chain(layers=(*convolution("", inputs, outputs, 1), ("pool", Pool(pool="avg", kernel=2, stride=2))))


def _norm_activation_conv(
    number: str,
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    activation: ActivationName,
    dropout: float,
    norm: NormChoice,
) -> Named:
    """A convolution with its norm and activation before it and its dropout after it.

    Its outputs go to norms alone, some of them beyond its chain, so that its bias is left out here where all of
    them absorb it; a dropout between would make it count.
    """
    bias = dropout > 0 or not absorbs_bias(norm)
    layers: list[tuple[str, Layer]] = [
        (f"norm{number}", norm.site(inputs)),
        (f"activation{number}", Activation(activation=activation)),
        (f"conv{number}", Conv(inputs=inputs, outputs=outputs, kernel=kernel, padding=kernel // 2, bias=bias)),
    ]
    if dropout:
        layers.append((f"dropout{number}", Dropout(p=dropout)))
    return tuple(layers)
