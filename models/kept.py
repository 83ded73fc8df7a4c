"""What the backward pass of a network reads again, and training therefore keeps: free of torch.

It follows what torch's own functions and the layers of `models` save for their gradients.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from models.catalog.names import ActivationName, NormName
from models.kinds.base import Layer
from models.kinds.containers import Chain, Concat, Dense, Residual
from models.kinds.layers import (
    Activation,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Linear,
    Norm,
    NormActivation,
    Pool,
)
from models.kinds.sequences import Attention, Patchify, Recurrent
from models.measures import Shape
from models.shapes import walk


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What the backward pass of a layer reads: its input, its output, and so many values inside, of one sample.

    `passes` is a layer that gives its input as it is.
    """

    input: bool = False
    output: bool = False
    inside: int = 0
    passes: bool = False


_PASSES = Kept(passes=True)
_INPUT = Kept(input=True)


def kept(layer: Layer, shape: Shape) -> tuple[Kept, Shape]:
    """What is kept of a layer, and the shape of a sample after it."""
    match layer:
        case Chain():
            return _kept_of_chain(layer, shape)
        case Residual():
            branch, output = kept(layer.branch, shape)
            shortcut, _ = kept(layer.shortcut, shape)
            joined = _joined([(branch, output), (shortcut, output)])
            multiplied = prod(output) if layer.skip_init and not branch.output else 0
            return Kept(input=joined.input, inside=joined.inside + multiplied), output
        case Concat() | Dense():
            branches = [layer.branch] if isinstance(layer, Dense) else [branch for _, branch in layer.branches]
            found = [kept(branch, shape) for branch in branches]
            output = walk("", layer, shape, [])
            return _joined(found), output
        case _:
            output = walk("", layer, shape, [])
            leaf = LEAVES.get(type(layer))
            return leaf(layer, shape, output) if leaf else Kept(), output


def _kept_of_chain(chain: Chain, shape: Shape) -> tuple[Kept, Shape]:
    """Each tensor between two layers counts once, if the one before or the one after needs it."""
    total = _PASSES
    for _, layer in chain.layers:
        own, output = kept(layer, shape)
        if not own.passes:
            between = prod(shape) if not total.passes and (total.output or own.input) else 0
            total = Kept(
                input=own.input if total.passes else total.input,
                output=own.output,
                inside=total.inside + between + own.inside,
            )
        shape = output
    return total, shape


def _joined(branches: Sequence[tuple[Kept, Shape]]) -> Kept:
    """Branches that share an input, each with the shape that it gives; none of their outputs is the output."""
    return Kept(
        input=any(branch.input for branch, _ in branches),
        inside=sum(branch.inside + branch.output * prod(shape) for branch, shape in branches),
    )


#: Tensors of the size of its input that a norm keeps beside the input; 2 for norms that are not known here.
_COPIES: dict[str, int] = {name.value: 0 for name in NormName} | {
    NormName.NOISY_BATCH: 1,
    NormName.LP_BATCH: 2,
    NormName.RMS: 1,
    NormName.LOCAL_RESPONSE: 3,
    NormName.FILTER_RESPONSE: 1,
    NormName.DYT: 1,
}
_FUSED_COPIES: dict[str, int] = {NormName.FILTER_RESPONSE: 2}


def _norm(layer: Norm, shape: Shape, output: Shape) -> Kept:
    if layer.norm == NormName.NONE:
        return _PASSES
    return Kept(input=True, inside=_COPIES.get(layer.norm, 2) * prod(shape))


def _fused(layer: NormActivation, shape: Shape, output: Shape) -> Kept:
    return Kept(input=True, inside=_FUSED_COPIES.get(layer.norm, 3) * prod(shape))


def _activation(layer: Activation, shape: Shape, output: Shape) -> Kept:
    match layer.activation:
        case ActivationName.LINEAR:
            return _PASSES
        case ActivationName.GELU | ActivationName.SILU:
            return _INPUT
        case _:
            return Kept(output=True)


def _dropout(layer: Dropout, shape: Shape, output: Shape) -> Kept:
    return Kept(inside=prod(shape)) if layer.p else _PASSES


def _pool(layer: Pool, shape: Shape, output: Shape) -> Kept:
    # Places of the largest values, in 64 bits.
    return Kept(input=True, inside=2 * prod(output) if layer.pool == "max" else 0)


def _global_pool(layer: GlobalPool, shape: Shape, output: Shape) -> Kept:
    return Kept(input=layer.pool == "max", output=layer.pool == "max")


def _attention(layer: Attention, shape: Shape, output: Shape) -> Kept:
    # Queries, keys, values and their result; weights of pairs only where dropout acts on them.
    pairs = 3 * layer.heads * shape[0] ** 2 if layer.dropout else 0
    return Kept(input=True, inside=4 * prod(shape) + pairs)


def _recurrent(layer: Recurrent, shape: Shape, output: Shape) -> Kept:
    # Of each time step the products of the inputs, the gates, the states and what is multiplied.
    gates = (4 + 7 if layer.cell == "lstm" else 3 + 8) * layer.units
    normalized = sum(
        (1 + _COPIES.get(norm.norm, 2)) * norm.features for _, norm in layer.norms if norm.norm != NormName.NONE
    )
    return Kept(input=True, inside=layer.steps * (gates + normalized))


#: Layers that are not here keep nothing.
LEAVES: dict[type[Layer], Callable[[Any, Shape, Shape], Kept]] = {
    Flatten: lambda layer, shape, output: _PASSES,
    Linear: lambda layer, shape, output: _INPUT,
    Conv: lambda layer, shape, output: _INPUT,
    Patchify: lambda layer, shape, output: _INPUT,
    Norm: _norm,
    NormActivation: _fused,
    Activation: _activation,
    Dropout: _dropout,
    Pool: _pool,
    GlobalPool: _global_pool,
    Attention: _attention,
    Recurrent: _recurrent,
}
