"""No network may end in means alone that its instance norm has made the same for every sample."""

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from pydantic import ValidationError

from db.spec.errors import spec_error
from models.blueprint import Blueprint
from models.catalog.names import ActivationName, NormName, Position
from models.catalog.registry import architectures
from models.kinds.base import Layer
from models.kinds.containers import IDENTITY, Chain, Concat, Dense, Residual
from models.kinds.layers import Activation, Conv, Dropout, GlobalPool, Norm, Pool
from models.measures import Shape
from models.shapes import walk

if TYPE_CHECKING:
    from db.spec.job import JobSpec


def check_means(spec: "JobSpec", blueprint: Blueprint) -> None:
    """Refuse a network of which nothing but such means reaches the output."""
    site, _ = _fixed_means("", blueprint.body, blueprint.input_shape, None)
    if site is None:
        return
    positions = _positions_that_leave_something(spec)
    names = [] if positions else [name for name in _others(spec) if _is_valid_with(spec, name)]
    way = f"Choose position {' or '.join(positions)}, or another norm" if positions else "Choose another norm"
    raise spec_error(
        "pooled_to_a_constant",
        "/norm/position" if positions else "/norm/name",
        f"Norm '{spec.norm.name}' at site {site} gives each channel the same mean in every sample, and nothing "
        f"but that mean goes on from there: nothing of the sample would be left. {way}.",
        allowed=positions or names,
    )


def _positions_that_leave_something(spec: "JobSpec") -> list[str]:
    """Where else the norm could stand."""
    info, choice = spec.dataset.info, spec.norm.choice(spec.total_steps())
    found = []
    for position in (Position.AUTO, *architectures()[spec.architecture.name].positions):
        other = spec.architecture.blueprint(info.shape, info.outputs, replace(choice, position=position))
        if _fixed_means("", other.body, other.input_shape, None)[0] is None:
            found.append(position.value)
    return found


def _others(spec: "JobSpec") -> list[str]:
    return [name for name in architectures()[spec.architecture.name].norms if name != spec.norm.name]


def _is_valid_with(spec: "JobSpec", norm: str) -> bool:
    """Whether the same job is valid with another norm and its defaults."""
    try:
        type(spec).model_validate(spec.to_json() | {"norm": {"name": norm}})
    except ValidationError:
        return False
    return True


def _fixed_means(name: str, layer: Layer, shape: Shape, site: str | None) -> tuple[str | None, Shape]:
    """The site by whose norm each channel's mean is the same for every sample after a layer, and the shape there.

    The site is None if the means differ; `shape` and `site` are those before the layer. Where means are all there
    is, as at the network's output, its value is the same for every sample.
    """
    match layer:
        case Chain():
            for own_name, inner in layer.layers:
                site, shape = _fixed_means(f"{name}.{own_name}" if name else own_name, inner, shape, site)
            return site, shape
        case Residual():
            paths: list[tuple[str, Layer]] = [("", layer.branch), (".shortcut", layer.shortcut)]
        case Dense():
            paths = [("", IDENTITY), ("", layer.branch)]
        case Concat():
            paths = [(f".{own_name}", branch) for own_name, branch in layer.branches]
        case _:
            output = walk(name, layer, shape, [])
            if isinstance(layer, Norm) and layer.norm == NormName.INSTANCE:
                return name, output
            return site if _keeps_means(layer, shape) else None, output
    found = [_fixed_means(f"{name}{own_name}", path, shape, site)[0] for own_name, path in paths]
    return found[-1] if all(found) else None, walk(name, layer, shape, [])


def _keeps_means(layer: Layer, shape: Shape) -> bool:
    """Whether the mean of each channel after a layer follows from the means before it. shape: of one sample."""
    if prod(shape[1:]) == 1:
        return True  # a single value is its mean
    match layer:
        case Norm():
            return layer.norm == NormName.NONE
        case Activation():
            return layer.activation is ActivationName.LINEAR
        case Pool():
            return layer.pool == "avg" and all(_tiles(layer, side) for side in shape[1:])
        case Conv():
            return (layer.kernel, layer.stride, layer.padding) == (1, 1, 0)
        case GlobalPool():
            return layer.pool == "avg"
        case _:
            return isinstance(layer, Dropout)


def _tiles(pool: Pool, side: int) -> bool:
    """Whether each value along a side, the zeros around it too, is in exactly one window."""
    padded = side + 2 * pool.padding
    return pool.kernel == padded or (pool.kernel == pool.stride and padded % pool.kernel == 0)
