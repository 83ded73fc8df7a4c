"""How long a step of the optimizer is, relative to the weights that it changes."""

from collections.abc import Callable, Mapping
from functools import partial
from math import inf, sqrt

import numpy as np

from db.spec.optimizer import SGD
from models.neighbours import neighbours
from models.shapes import layers
from worker.diagnosis.evidence import Evidence

#: Reads one number of each site from a column.
Read = Callable[[str], Mapping[str, float]]


def medians(evidence: Evidence, column: str) -> dict[str, float]:
    """Of the last recorded steps whose numbers are finite; infinite where none is."""
    finite = ((site.name, rows[np.isfinite(rows)]) for site, rows in evidence.rows(column))
    return {name: float(np.median(sizes)) if sizes.size else inf for name, sizes in finite}


def _earliest(evidence: Evidence, column: str) -> dict[str, float]:
    """Of the earliest row that is kept and finite, before anything can have blown up."""
    known = ((site.name, site.columns[column]) for site in evidence.sites if column in site.columns)
    finite = ((name, rows[np.isfinite(rows)]) for name, rows in known)
    return {name: float(rows[0]) for name, rows in finite if rows.size}


def last_steps(evidence: Evidence) -> dict[str, float]:
    """||step|| / ||w|| by site, by the medians of the last recorded rows."""
    return _relative(evidence, partial(medians, evidence))


def earliest_steps(evidence: Evidence) -> dict[str, float]:
    """||step|| / ||w|| by site, at the earliest of the last recorded rows."""
    return _relative(evidence, partial(_earliest, evidence))


def _relative(evidence: Evidence, read: Read) -> dict[str, float]:
    moves = _moves(evidence, read)
    weights = {name: size for name, size in read("layer.weight_norm").items() if 0 < size < inf}
    # Of the rate that the steps had, which a schedule makes another than the optimizer's own: lr / ||w||^2.
    known = read("layer.effective_lr")
    rates = {name: known.get(name, evidence.spec.optimizer.lr / size**2) for name, size in weights.items()}
    return {name: rates[name] * moves[name] * size for name, size in weights.items() if name in moves}


def _moves(evidence: Evidence, read: Read) -> dict[str, float]:
    """Length of a step over lr, by site.

    SGD: that of the gradient, with momentum at most 1 / (1 - momentum) times as long. AdamW: each of n weights
    moves by about lr (Kingma & Ba 2015, arXiv 1412.6980), which makes sqrt(n).
    """
    optimizer = evidence.spec.optimizer
    if not isinstance(optimizer, SGD):
        return {site: sqrt(count) for site, count in _parameters(evidence).items()}
    # Momentum adds up no more steps than there have been, and from 1 on it adds up all.
    most = max(1, evidence.step)
    reach = most if optimizer.momentum >= 1 else min(most, 1 / (1 - optimizer.momentum))
    return {site: reach * size for site, size in read("layer.gradient_norm").items()}


def _parameters(evidence: Evidence) -> dict[str, int]:
    """Of the layer before each site; the weights of a cell's gates are not told apart and have none."""
    blueprint = evidence.spec.blueprint()
    known = {layer.name: layer.parameters for layer in layers(blueprint)}
    beside = {site: each.layer for site, each in neighbours(blueprint).items()}
    return {site: known[layer] for site, layer in beside.items() if layer in known}
