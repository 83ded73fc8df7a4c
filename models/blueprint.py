"""Networks as data: a tree of frozen records, free of torch.

A blueprint says what a network is. Its shapes (`models.shapes`), the module (`models.build`) and the exported
`config.json` all come from it, each in one place.
"""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from models.catalog import ActivationName, InitName, NormName


@dataclass(frozen=True, kw_only=True)
class Flatten:
    """(N, *) to (N, product of *)."""

    kind: ClassVar[str] = "flatten"


@dataclass(frozen=True, kw_only=True)
class Linear:
    """(N, inputs) to (N, outputs)."""

    kind: ClassVar[str] = "linear"
    inputs: int
    outputs: int
    bias: bool = True


@dataclass(frozen=True, kw_only=True)
class Norm:
    """A site: a norm over `features` channels. `options` are the keyword arguments of its layer."""

    kind: ClassVar[str] = "norm"
    name: NormName
    features: int
    options: tuple[tuple[str, float | bool], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Activation:
    """An elementwise function."""

    kind: ClassVar[str] = "activation"
    name: ActivationName


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Named layers, one after the other; a name becomes a part of the dotted names of parameters and sites."""

    kind: ClassVar[str] = "chain"
    layers: tuple[tuple[str, "Layer"], ...]


Layer = Flatten | Linear | Norm | Activation | Chain


@dataclass(frozen=True, kw_only=True)
class Init:
    """How the weights of every linear layer begin; `std` belongs to `normal`."""

    name: InitName = InitName.DEFAULT
    std: float | None = None


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """A whole network: what it takes, its layers, and how its weights begin."""

    architecture: str
    #: Shape of one sample, without the batch dimension.
    input_shape: tuple[int, ...]
    outputs: int
    init: Init
    body: Chain


def to_json(record: Blueprint | Layer | Init) -> dict[str, Any]:
    """The record as plain JSON values; layers carry their `kind`, a chain its layers with their `name`."""
    if isinstance(record, Chain):
        layers = [{"name": name, **to_json(layer)} for name, layer in record.layers]
        return {"kind": record.kind, "layers": layers}
    if isinstance(record, Norm):
        return {
            "kind": record.kind,
            "norm": str(record.name),
            "features": record.features,
            "options": dict(record.options),
        }
    if isinstance(record, Activation):
        return {"kind": record.kind, "activation": str(record.name)}
    values = {f.name: getattr(record, f.name) for f in fields(record)}
    plain = {k: to_json(v) if isinstance(v, (Chain, Init)) else v for k, v in values.items()}
    return {"kind": record.kind, **plain} if isinstance(record, (Flatten, Linear)) else plain
