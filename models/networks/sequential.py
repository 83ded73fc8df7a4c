"""The network that a spec declares layer by layer; what each layer takes follows from the shape before it."""

from collections.abc import Sequence
from dataclasses import replace

from models.blueprint import Blueprint, Init, NormChoice
from models.catalog.names import Architecture
from models.kinds.base import Layer, dotted
from models.kinds.containers import Chain, Residual
from models.kinds.layers import Conv, Linear, Norm
from models.measures import Shape
from models.placement import OUTPUT, place
from models.shapes import walk

#: In a declared layer: what follows from the shape before it.
INFERRED = 0
#: A place for the network's norm, in a declared list.
SITE = Norm(norm="", features=INFERRED)


def declared(layers: Sequence[Layer]) -> Chain:
    """Layers one after the other, each named by its kind and its index: `conv0`, `norm1`."""
    return Chain(layers=tuple((f"{layer.kind}{index}", layer) for index, layer in enumerate(layers)))


def sequential(
    input_shape: Shape, outputs: int, *, layers: Sequence[Layer], norm: NormChoice, init: Init
) -> Blueprint:
    """The declared layers, in order; a linear layer at the end is the network's output.

    Linear layers and convolutions have `INFERRED` inputs, norms are `SITE`, and residual layers hold chains made
    by `declared`.

    Raises:
        ShapeError: a layer does not take what comes before it.
    """
    *first, (name, last) = _infer("", declared(layers), input_shape, norm).layers
    if isinstance(last, Linear):
        name = OUTPUT
    return Blueprint(
        architecture=Architecture.SEQUENTIAL,
        input_shape=input_shape,
        outputs=outputs,
        init=init,
        body=place(Chain(layers=(*first, (name, last))), norm),
    )


def _infer(prefix: str, chain: Chain, shape: Shape, norm: NormChoice) -> Chain:
    """The chain with the inputs that its layers have for samples of `shape`; `prefix` is for messages."""
    known: list[tuple[str, Layer]] = []
    for own_name, layer in chain.layers:
        name = dotted(prefix, own_name)
        complete = _complete(name, layer, shape, norm)
        shape = walk(name, complete, shape, [])
        known.append((own_name, complete))
    return Chain(layers=tuple(known))


def _complete(name: str, layer: Layer, shape: Shape, norm: NormChoice) -> Layer:
    match layer:
        case Linear():
            return replace(layer, inputs=shape[-1])
        case Conv():
            return replace(layer, inputs=shape[0])
        case Norm():
            return norm.site(shape[0])
        case Residual(branch=branch, shortcut=shortcut):
            return Residual(
                branch=_infer(name, branch, shape, norm),
                shortcut=_infer(f"{name}.shortcut", shortcut, shape, norm),
            )
        case _:
            return layer
