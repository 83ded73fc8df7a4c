"""Networks as data: a tree of frozen records, free of torch.

A blueprint says what a network is. Its shapes (`models.shapes`), the module (`models.build`) and the exported
`config.json` all come from it, each in one place. The kinds of layers are in `models.kinds`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

from models.catalog.names import InitName, Position
from models.kinds import containers, layers, sequences
from models.kinds.base import Layer, Options
from models.kinds.containers import Chain, Concat, Dense, Residual
from models.kinds.layers import Norm, Parametrization

KINDS: dict[str, type[Layer]] = {
    record.kind: record
    for module in (layers, containers, sequences)
    for record in vars(module).values()
    if isinstance(record, type) and issubclass(record, Layer) and record is not Layer
}

L = TypeVar("L", bound=Layer)


@dataclass(frozen=True, kw_only=True)
class Init:
    """How the weights of linear layers, convolutions and cells begin; `std` belongs to the normal ones."""

    name: InitName = InitName.DEFAULT
    std: float | None = None


@dataclass(frozen=True, kw_only=True)
class NormChoice:
    """The norm of a network: what stands at its sites, and where they are."""

    name: str = "none"
    options: Options = ()
    position: Position = Position.AUTO

    def site(self, features: int, *, tokens: bool = False) -> Norm:
        """The norm of one site."""
        return Norm(norm=self.name, features=features, options=self.options, tokens=tokens)


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """A whole network: what it takes, its layers, and how its weights begin."""

    architecture: str
    #: Shape of one sample, without the batch dimension.
    input_shape: tuple[int, ...]
    outputs: int
    init: Init
    body: Chain


def map_chains(layer: L, change: Callable[[Chain], Chain]) -> L:
    """The layer with every chain in it, and itself if it is one, put through `change`; the innermost first."""
    match layer:
        case Chain():
            inner = tuple((name, map_chains(each, change)) for name, each in layer.layers)
            return change(Chain(layers=inner))  # type: ignore[return-value]  # L is Chain here
        case Residual():
            branch, shortcut = map_chains(layer.branch, change), map_chains(layer.shortcut, change)
            return replace(layer, branch=branch, shortcut=shortcut)
        case Dense():
            return replace(layer, branch=map_chains(layer.branch, change))
        case Concat():
            return replace(layer, branches=tuple((name, map_chains(b, change)) for name, b in layer.branches))
        case _:
            return layer


def to_json(record: Any) -> Any:
    """A blueprint, or a part of one, as plain JSON values; layers carry their `kind`, named ones their `name`."""
    if is_dataclass(record) and not isinstance(record, type):
        values = {field.name: _field_to_json(field.name, getattr(record, field.name)) for field in fields(record)}
        return {"kind": record.kind, **values} if isinstance(record, Layer) else values
    if isinstance(record, tuple):
        return [to_json(value) for value in record]
    return record


def _field_to_json(name: str, value: Any) -> Any:
    if name == "options":
        return dict(value)
    if name in _NAMED:
        return [{"name": own_name, **to_json(layer)} for own_name, layer in value]
    return to_json(value)


#: Fields that hold layers with names.
_NAMED = ("layers", "branches", "norms")


def from_json(values: Mapping[str, Any]) -> Blueprint:
    """The blueprint that `to_json` wrote.

    Raises:
        KeyError: a kind is unknown or a field is missing.
    """
    init = Init(name=InitName(values["init"]["name"]), std=values["init"]["std"])
    return Blueprint(
        architecture=values["architecture"],
        input_shape=tuple(values["input_shape"]),
        outputs=values["outputs"],
        init=init,
        body=layer_from_json(values["body"]),
    )


def layer_from_json(values: Mapping[str, Any]) -> Any:
    """One layer, of the kind that it names."""
    record = KINDS[values["kind"]]
    return record(**{field.name: _field_from_json(field.name, values[field.name]) for field in fields(record)})


def _field_from_json(name: str, value: Any) -> Any:
    if name == "options":
        return tuple(value.items())
    if name in _NAMED:
        return tuple((each["name"], layer_from_json(each)) for each in value)
    if name == "weight" and value is not None:
        return Parametrization(norm=value["norm"], options=tuple(value["options"].items()))
    return layer_from_json(value) if isinstance(value, Mapping) else value


def chain(*named: tuple[str, Layer]) -> Chain:
    """Layers one after the other, each with its name."""
    return Chain(layers=named)
