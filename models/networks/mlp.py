"""The fully connected network of the batch-normalization paper."""

from collections.abc import Sequence
from math import prod

from models.blueprint import Blueprint, Init, NormChoice
from models.catalog.names import ActivationName, Architecture
from models.kinds.base import Layer
from models.kinds.containers import Chain
from models.kinds.layers import Activation, Dropout, Flatten, Linear
from models.placement import OUTPUT, place


def mlp(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    hidden: Sequence[int],
    activation: ActivationName = ActivationName.RELU,
    dropout: float = 0.0,
    norm: NormChoice,
    init: Init,
) -> Blueprint:
    """Linear, norm and activation for each hidden size, then a linear output.

    With three hidden layers of 100 sigmoid units it is the network of Ioffe & Szegedy 2015, section 4.1; with
    `linear` activations it is a deep linear network.
    """
    layers: list[tuple[str, Layer]] = [("flatten", Flatten())]
    inputs = prod(input_shape)
    for depth, units in enumerate(hidden, start=1):
        layers += [
            (f"linear{depth}", Linear(inputs=inputs, outputs=units)),
            (f"norm{depth}", norm.site(units)),
            (f"activation{depth}", Activation(activation=activation)),
        ]
        if dropout:
            layers.append((f"dropout{depth}", Dropout(p=dropout)))
        inputs = units
    layers.append((OUTPUT, Linear(inputs=inputs, outputs=outputs)))
    return Blueprint(
        architecture=Architecture.MLP,
        input_shape=input_shape,
        outputs=outputs,
        init=init,
        body=place(Chain(layers=tuple(layers)), norm),
    )
