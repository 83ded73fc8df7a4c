"""A few convolutions: the smallest network in which a norm has positions."""

from collections.abc import Sequence

from models.blueprint import Blueprint, Init, NormChoice
from models.catalog.names import ActivationName, Architecture
from models.kinds.base import Layer
from models.kinds.containers import Chain
from models.kinds.layers import Activation, Conv, Dropout, GlobalPool, Linear, Pool
from models.placement import OUTPUT, place


def cnn(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    channels: Sequence[int],
    kernel: int = 3,
    activation: ActivationName = ActivationName.RELU,
    dropout: float = 0.0,
    norm: NormChoice,
    init: Init,
) -> Blueprint:
    """Convolution, norm, activation and 2x2 max pooling for each number of channels, then a linear output.

    The last convolution is pooled over all its positions (Lin et al. 2013, arXiv 1312.4400, section 3.2).
    """
    layers: list[tuple[str, Layer]] = []
    inputs = input_shape[0]
    for depth, width in enumerate(channels, start=1):
        if depth > 1:
            layers.append((f"pool{depth - 1}", Pool(pool="max", kernel=2, stride=2)))
        layers += [
            (f"conv{depth}", Conv(inputs=inputs, outputs=width, kernel=kernel, padding=kernel // 2)),
            (f"norm{depth}", norm.site(width)),
            (f"activation{depth}", Activation(activation=activation)),
        ]
        inputs = width
    layers.append(("pool", GlobalPool()))
    if dropout:
        layers.append(("dropout", Dropout(p=dropout)))
    layers.append((OUTPUT, Linear(inputs=inputs, outputs=outputs)))
    return Blueprint(
        architecture=Architecture.CNN,
        input_shape=input_shape,
        outputs=outputs,
        init=init,
        body=place(Chain(layers=tuple(layers)), norm),
    )
