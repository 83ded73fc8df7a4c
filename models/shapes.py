"""Shapes, parameters, operations and sites of a blueprint, in about a millisecond and without torch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from models.blueprint import Blueprint
from models.catalog.records import Moments
from models.catalog.registry import norms
from models.kinds.base import Layer, dotted
from models.kinds.containers import Chain, Concat, Dense, Residual
from models.kinds.layers import Norm, NormActivation
from models.kinds.sequences import Recurrent
from models.measures import MEASURES, Measure, Mismatch, Shape, join_channels


class ShapeError(ValueError):
    """A layer that does not take what comes before it. `name` is dotted, `reason` a sentence."""

    def __init__(self, name: str, layer: Layer, shape: Shape, reason: str) -> None:
        super().__init__(f"Layer {name!r} ({layer.kind}) does not take samples of shape {list(shape)}: {reason}")
        self.name = name
        self.shape = shape
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """One layer: its dotted name, what it takes and gives for one sample, and what it holds and does."""

    name: str
    layer: Layer
    input: Shape
    output: Shape
    parameters: int
    #: Multiplications and additions of a forward pass for one sample, each pair as one.
    operations: int
    #: Time steps, of a norm in a recurrent layer.
    time_steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class Site:
    """A place where a norm stands, and what it normalizes."""

    #: Stable and dotted: `stage2.block1.norm2`.
    name: str
    norm: str
    channels: int
    #: Values of one channel in one sample; 1 after a linear layer, height times width after a convolution.
    positions: int
    #: Numbers of each kind that a record holds: one for each channel, or each group, or one.
    moments: int
    #: Of a recurrent layer, whose batch norms keep statistics of each step.
    time_steps: int | None = None
    #: Tokens count as samples; the norm itself is the child `norm` of the site.
    tokens: bool = False


def layers(blueprint: Blueprint) -> list[LayerShape]:
    """Every layer that holds no other ones, in order.

    Raises:
        ShapeError: a layer does not take what comes before it.
    """
    found: list[LayerShape] = []
    walk("", blueprint.body, blueprint.input_shape, found)
    return found


def walk(name: str, layer: Layer, shape: Shape, found: list[LayerShape]) -> Shape:
    """Add the layers in `layer` to `found`; returns the shape of one sample after it."""
    match layer:
        case Chain():
            for own_name, inner in layer.layers:
                shape = walk(dotted(name, own_name), inner, shape, found)
            return shape
        case Residual():
            return _walk_residual(name, layer, shape, found)
        case Dense():
            return _joined(name, layer, shape, [shape, walk(name, layer.branch, shape, found)])
        case Concat():
            outputs = [walk(f"{name}.{own_name}", b, shape, found) for own_name, b in layer.branches]
            return _joined(name, layer, shape, outputs)
        case _:
            return _walk_leaf(name, layer, shape, found)


def _walk_residual(name: str, layer: Residual, shape: Shape, found: list[LayerShape]) -> Shape:
    branch = walk(name, layer.branch, shape, found)
    shortcut = walk(f"{name}.shortcut", layer.shortcut, shape, found)
    if branch != shortcut:
        reason = f"its branch gives {list(branch)}, its shortcut {list(shortcut)}; they are added"
        raise ShapeError(name, layer, shape, reason)
    if layer.skip_init:
        count = prod(branch)
        found.append(
            LayerShape(name=name, layer=layer, input=branch, output=branch, parameters=1, operations=count)
        )
    return branch


def _joined(name: str, layer: Layer, shape: Shape, outputs: list[Shape]) -> Shape:
    try:
        return join_channels(outputs)
    except Mismatch as mismatch:
        raise ShapeError(name, layer, shape, str(mismatch)) from None


def _walk_leaf(name: str, layer: Layer, shape: Shape, found: list[LayerShape]) -> Shape:
    try:
        measure = _measure(layer, shape)
    except Mismatch as mismatch:
        raise ShapeError(name, layer, shape, str(mismatch)) from None
    found.append(
        LayerShape(
            name=name,
            layer=layer,
            input=shape,
            output=measure.output,
            parameters=measure.parameters,
            operations=measure.operations,
        )
    )
    if isinstance(layer, Recurrent):
        found += _norms_of_cell(name, layer)
    return measure.output


def _measure(layer: Layer, shape: Shape) -> Measure:
    measure: Callable[[Any, Shape], Measure] = MEASURES[type(layer)]
    return measure(layer, shape)


def _norms_of_cell(name: str, cell: Recurrent) -> Iterator[LayerShape]:
    for own_name, norm in cell.norms:
        shape = (norm.features,)
        measure = _measure(norm, shape)
        yield LayerShape(
            name=f"{name}.{own_name}",
            layer=norm,
            input=shape,
            output=shape,
            parameters=measure.parameters,
            operations=measure.operations * cell.steps,
            time_steps=cell.steps,
        )


def total_parameters(blueprint: Blueprint) -> int:
    """Learned numbers of the whole network."""
    return sum(step.parameters for step in layers(blueprint))


def largest_output(blueprint: Blueprint) -> int:
    """Values that the layer which gives most of them gives for one sample."""
    return max(prod(step.output) for step in layers(blueprint))


def sites(blueprint: Blueprint) -> list[Site]:
    """Where norms stand, in order."""
    return [_site(step, step.layer) for step in layers(blueprint) if isinstance(step.layer, Norm | NormActivation)]


def _site(step: LayerShape, layer: Norm | NormActivation) -> Site:
    tokens = isinstance(layer, Norm) and layer.tokens
    moments = {
        Moments.CHANNELS: layer.features,
        Moments.GROUPS: int(dict(layer.options).get("groups") or 1),
        Moments.SAMPLE: 1,
    }
    return Site(
        name=step.name,
        norm=layer.norm,
        channels=layer.features,
        positions=prod(step.input) // layer.features,
        moments=moments[norms()[layer.norm].records],
        time_steps=step.time_steps,
        tokens=tokens,
    )
