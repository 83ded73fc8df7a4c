"""What stands next to each site of a network: the layer whose output it normalizes, and an activation. Torch-free.

Neighbours follow one another in a chain, or across its border where nothing is added or joined there: the first
layers of a branch follow what stands before the branch, what follows a sum or a concatenation follows no layer.
"""

from dataclasses import dataclass, field

from models.blueprint import Blueprint
from models.catalog.names import ActivationName
from models.kinds.base import Layer, dotted
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
from models.kinds.sequences import Recurrent

#: Parts of the weights of a cell, of as many rows as it has units.
GATES = {"lstm": 4, "gru": 3}


@dataclass(frozen=True, kw_only=True)
class NamedActivation:
    """An activation and its dotted name."""

    name: str
    activation: ActivationName


@dataclass(kw_only=True)
class Neighbours:
    """Of one site.

    `layer` is the linear layer or convolution before it, also before an activation, dropout, pooling or flattening
    between them; in a cell the weight whose product the site normalizes (`lstm1.weight_hidden`), and `rows` which
    of its rows, if not all. `activation` is the one straight after the site or, if there is none, straight before
    it; dropout may stand between.
    """

    layer: str | None = None
    rows: tuple[int, int] | None = None
    activation: NamedActivation | None = None


@dataclass(frozen=True, kw_only=True)
class _Before:
    """What a layer follows: a weighted layer, an activation, and a site that waits for its activation."""

    layer: str | None = None
    activation: NamedActivation | None = None
    site: str | None = None


_NOTHING = _Before()


@dataclass(kw_only=True)
class _Walk:
    """Goes through a network and notes the neighbours of its sites."""

    found: dict[str, Neighbours] = field(default_factory=dict)

    def through(self, name: str, layer: Layer, before: _Before) -> _Before:
        """What follows the layer follows."""
        match layer:
            case Chain():
                for own_name, inner in layer.layers:
                    before = self.through(dotted(name, own_name), inner, before)
                return before
            case Residual() | Dense() | Concat():
                return self._branches(name, layer, before)
            case Recurrent():
                for own_name, norm in layer.norms:
                    rows = _rows_of(layer, own_name, norm.features)
                    self.found[dotted(name, own_name)] = Neighbours(layer=_weight_of(name, own_name), rows=rows)
                return _NOTHING
            case _:
                return self._leaf(name, layer, before)

    def _branches(self, name: str, layer: Residual | Dense | Concat, before: _Before) -> _Before:
        # A site before them is followed by all branches, and thus by no one activation.
        inside = _Before(layer=before.layer, activation=before.activation)
        match layer:
            case Residual(branch=branch, shortcut=shortcut):
                branches: dict[str, Layer] = {name: branch, dotted(name, "shortcut"): shortcut}
            case Dense(branch=branch):
                branches = {name: branch}
            case Concat(branches=named):
                branches = {dotted(name, own_name): branch for own_name, branch in named}
        for own_name, inner in branches.items():
            self.through(own_name, inner, inside)
        return _NOTHING

    def _leaf(self, name: str, layer: Layer, before: _Before) -> _Before:
        match layer:
            case Norm():
                self.found[name] = Neighbours(layer=before.layer, activation=before.activation)
                return _Before(site=name)
            case NormActivation():
                self.found[name] = Neighbours(layer=before.layer)
                return _NOTHING
            case Activation(activation=activation):
                named = NamedActivation(name=name, activation=activation)
                if before.site is not None:
                    self.found[before.site].activation = named
                return _Before(layer=before.layer, activation=named)
            case Linear() | Conv():
                return _Before(layer=name)
            case Dropout():
                return before
            case Pool() | GlobalPool() | Flatten():
                return _Before(layer=before.layer)
            case _:
                return _NOTHING


def _weight_of(cell: str, norm: str) -> str | None:
    """The weight whose product a norm of a cell takes; that of the cell state takes none."""
    for part in ("input", "hidden"):
        if norm.startswith(f"norm_{part}"):
            return f"{cell}.weight_{part}"
    return None


def _rows_of(cell: Recurrent, norm: str, features: int) -> tuple[int, int] | None:
    """The rows of that weight; a GRU's gates come first, its candidate last."""
    rows = GATES[cell.cell] * cell.units
    if norm == "norm_cell" or features == rows:
        return None
    return (rows - features, rows) if norm.endswith("_candidate") else (0, features)


def neighbours(blueprint: Blueprint) -> dict[str, Neighbours]:
    """The neighbours of each site of a network."""
    walk = _Walk()
    walk.through("", blueprint.body, _NOTHING)
    return walk.found
