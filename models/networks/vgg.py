"""Stacks of 3x3 convolutions between max poolings."""

from math import prod
from typing import Literal

from models.blueprint import Blueprint, Init, NormChoice
from models.catalog.names import ActivationName, Architecture
from models.kinds.base import Layer, Named
from models.kinds.containers import Chain
from models.kinds.layers import Activation, Dropout, Flatten, GlobalPool, Linear, Pool
from models.networks.parts import conv_norm_activation
from models.placement import OUTPUT, place

Form = Literal["cifar", "imagenet"]

#: Convolutions of each stack by the number of layers with weights. Simonyan & Zisserman 2014, table 1, columns A,
#: B, D and E.
_STACKS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def vgg(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    depth: Literal[11, 13, 16, 19],
    form: Form = "cifar",
    width: int = 64,
    activation: ActivationName = ActivationName.RELU,
    dropout: float | None = None,
    norm: NormChoice,
    init: Init,
) -> Blueprint:
    """Five stacks of convolutions of `width`, 2, 4, 8 and 8 times `width` channels, each with a 2x2 max pooling.

    Simonyan & Zisserman 2014 (arXiv 1409.1556), section 2.1; the norms are later than the paper, which has none,
    and stand after the convolutions alone. `imagenet` goes on with the paper's two linear layers of 64 * `width`
    units (4096), each with dropout 0.5. `cifar`, for 32x32 images, has one linear layer on the mean over all
    positions, and no dropout unless it is given.
    """
    layers: list[tuple[str, Layer]] = []
    inputs = input_shape[0]
    for number, (count, factor) in enumerate(zip(_STACKS[depth], (1, 2, 4, 8, 8), strict=True), start=1):
        stack: Named = ()
        for place_in_stack in range(1, count + 1):
            stack += conv_norm_activation(
                place_in_stack, inputs, factor * width, 3, norm=norm, activation=activation
            )
            inputs = factor * width
        layers += [
            (f"stage{number}", Chain(layers=stack)),
            (f"pool{number}", Pool(pool="max", kernel=2, stride=2)),
        ]
    if form == "imagenet":
        positions = prod(side // 2**5 for side in input_shape[1:])
        layers += _linear_layers(inputs * positions, 64 * width, activation, 0.5 if dropout is None else dropout)
        inputs = 64 * width
    else:
        layers.append(("pool", GlobalPool()))
        layers += [("dropout", Dropout(p=dropout))] if dropout else []
    layers.append((OUTPUT, Linear(inputs=inputs, outputs=outputs)))
    return Blueprint(
        architecture=Architecture.VGG,
        input_shape=input_shape,
        outputs=outputs,
        init=init,
        body=place(Chain(layers=tuple(layers)), norm),
    )


def _linear_layers(inputs: int, units: int, activation: ActivationName, dropout: float) -> Named:
    """Two linear layers with activation and dropout, on all values of the last maps."""
    layers: list[tuple[str, Layer]] = [("flatten", Flatten())]
    for number in (1, 2):
        layers += [
            (f"linear{number}", Linear(inputs=inputs, outputs=units)),
            (f"activation{number}", Activation(activation=activation)),
        ]
        if dropout:
            layers.append((f"dropout{number}", Dropout(p=dropout)))
        inputs = units
    return tuple(layers)
