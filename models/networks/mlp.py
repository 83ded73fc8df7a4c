"""The fully connected network of the batch-normalization paper."""

from collections.abc import Callable, Sequence
from math import prod

from models.blueprint import Activation, Blueprint, Chain, Flatten, Init, Layer, Linear, Norm
from models.catalog import ActivationName, Architecture
from models.placement import leave_out_absorbed_biases


def mlp(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    hidden: Sequence[int],
    activation: ActivationName,
    norm: Callable[[int], Norm],
    init: Init,
) -> Blueprint:
    """Linear, norm and activation for each hidden size, then a linear output.

    With three hidden layers of 100 sigmoid units it is the network of Ioffe & Szegedy 2015, section 4.1; with
    `linear` activations it is a deep linear network. `norm` makes the site for a number of features.
    """
    layers: list[tuple[str, Layer]] = [("flatten", Flatten())]
    inputs = prod(input_shape)
    for depth, units in enumerate(hidden, start=1):
        layers += [
            (f"linear{depth}", Linear(inputs=inputs, outputs=units)),
            (f"norm{depth}", norm(units)),
            (f"activation{depth}", Activation(name=activation)),
        ]
        inputs = units
    layers.append(("output", Linear(inputs=inputs, outputs=outputs)))
    return Blueprint(
        architecture=Architecture.MLP,
        input_shape=input_shape,
        outputs=outputs,
        init=init,
        body=leave_out_absorbed_biases(Chain(layers=tuple(layers))),
    )
