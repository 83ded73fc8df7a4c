"""Shapes, parameters and sites of a blueprint, in microseconds and without torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from models.blueprint import Activation, Blueprint, Chain, Flatten, Layer, Linear, Norm
from models.catalog import NormName

Shape = tuple[int, ...]


class ShapeError(ValueError):
    """A layer that does not take what comes before it."""

    def __init__(self, name: str, layer: Layer, shape: Shape) -> None:
        super().__init__(f"layer {name!r} ({layer.kind}) does not take samples of shape {list(shape)}")


@dataclass(frozen=True, kw_only=True)
class Site:
    """A place where a norm stands, and what it normalizes."""

    name: str
    norm: NormName
    channels: int
    #: Values of one channel in one sample; 1 after a linear layer, height times width after a convolution.
    positions: int


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """One layer of the network: its dotted name, what it gives for one sample, and what it holds."""

    name: str
    layer: Layer
    output: Shape
    parameters: int


def output_shape(name: str, layer: Layer, shape: Shape) -> Shape:
    """The shape of one sample after `layer`.

    Raises:
        ShapeError: the layer does not take samples of `shape`.
    """
    match layer:
        case Flatten():
            return (prod(shape),)
        case Linear(inputs=inputs, outputs=outputs):
            if shape != (inputs,):
                raise ShapeError(name, layer, shape)
            return (outputs,)
        case Norm(features=features):
            if not shape or shape[0] != features:
                raise ShapeError(name, layer, shape)
            return shape
        case Activation():
            return shape
        case Chain():
            return [shape, *(step.output for step in walk(layer, shape, name))][-1]


def parameter_count(layer: Layer) -> int:
    """Learned numbers of one layer, without those of layers inside it."""
    match layer:
        case Linear(inputs=inputs, outputs=outputs, bias=bias):
            return inputs * outputs + (outputs if bias else 0)
        case Norm(name=NormName.BATCH, features=features, options=options):
            return 2 * features if dict(options).get("affine", True) else 0
        case _:
            return 0


def walk(chain: Chain, shape: Shape, prefix: str = "") -> Iterator[LayerShape]:
    """Every layer that is no chain, in order, with its dotted name and shapes."""
    for own_name, layer in chain.layers:
        name = f"{prefix}.{own_name}" if prefix else own_name
        if isinstance(layer, Chain):
            yield from walk(layer, shape, name)
        else:
            yield LayerShape(
                name=name,
                layer=layer,
                output=output_shape(name, layer, shape),
                parameters=parameter_count(layer),
            )
        shape = output_shape(name, layer, shape)


def layers(blueprint: Blueprint) -> list[LayerShape]:
    """Every layer of the network, in order."""
    return list(walk(blueprint.body, blueprint.input_shape))


def total_parameters(blueprint: Blueprint) -> int:
    """Learned numbers of the whole network."""
    return sum(step.parameters for step in layers(blueprint))


def sites(blueprint: Blueprint) -> list[Site]:
    """Where norms stand, in order."""
    return [
        Site(
            name=step.name,
            norm=step.layer.name,
            channels=step.layer.features,
            positions=prod(step.output[1:]),
        )
        for step in layers(blueprint)
        if isinstance(step.layer, Norm)
    ]
