"""Norms taken into the weights before them, for inference: a rewrite of blueprint and weights together.

In eval mode a norm of the batch family is a fixed scale and shift of each channel, and so is what it does to the
output of a linear layer or convolution straight before it: both are one layer with other weights. Ioffe & Szegedy
2015 (arXiv 1502.03167), algorithm 2, line 11.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from models.blueprint import Blueprint, map_chains
from models.catalog.names import NormName
from models.kinds.base import Layer, Named, dotted
from models.kinds.containers import Chain, Concat, Dense, Residual
from models.kinds.layers import Conv, Linear, Norm, NormActivation
from models.kinds.sequences import Recurrent
from models.norms.table import make_norm


def _root_of_variance(norm: Any) -> Tensor:
    root: Tensor = (norm.running_var + norm.eps).sqrt()
    return root


#: What eval mode divides each channel by, for the norms that can be folded.
DIVISORS: dict[str, Callable[[Any], Tensor]] = {
    NormName.BATCH: _root_of_variance,
    NormName.SYNC_BATCH: _root_of_variance,
    NormName.GHOST_BATCH: _root_of_variance,
    NormName.NOISY_BATCH: _root_of_variance,
    NormName.FROZEN_BATCH: _root_of_variance,
    NormName.BATCH_RENORM: lambda norm: norm.running_std,
    NormName.LP_BATCH: lambda norm: norm.running_scale + norm.eps,
}


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A network for eval mode alone, with fewer sites."""

    blueprint: Blueprint
    #: Loads into `build(blueprint)`.
    state: dict[str, Tensor]
    #: The sites that are still there, each with the reason.
    left: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    """Whether a site folds: `into` the layer of that name, unless an `obstacle` keeps it."""

    site: str
    norm: Norm | NormActivation
    into: str = ""
    obstacle: str = ""


def fold(blueprint: Blueprint, state: Mapping[str, Tensor]) -> Folded:
    """Fold every site that stands straight after a linear layer or convolution and is fixed in eval mode.

    `state` is the state dict of `build(blueprint)`; it is left as it is, and what does not change is shared with
    it. With s = weight / sqrt(var + eps) the weights become s * W (each output channel) and the bias
    s * (b - mean) + bias, in float64 and then in the type of the weights.

    Raises:
        KeyError: `state` lacks the weights of a layer.
        RuntimeError: `state` lacks something of a norm.
    """
    folded, left = dict(state), {}
    for name, run in _runs("", blueprint.body):
        for verdict in _judge(run):
            site = dotted(name, verdict.site)
            if verdict.obstacle:
                left[site] = verdict.obstacle
            elif isinstance(verdict.norm, Norm):
                _merge(folded, dotted(name, verdict.into), site, verdict.norm)
    body = map_chains(blueprint.body, _without_folded)
    return Folded(blueprint=replace(blueprint, body=body), state=folded, left=left)


def _runs(name: str, layer: Layer) -> Iterator[tuple[str, Named]]:
    """Layers that stand one after the other, with the dotted name that theirs begin with."""
    runs: list[tuple[str, Named]] = []
    match layer:
        case Chain(layers=named) | Dense(branch=Chain(layers=named)):
            runs = [(name, named)]
        case Residual(branch=branch, shortcut=shortcut):
            runs = [(name, branch.layers), (dotted(name, "shortcut"), shortcut.layers)]
        case Concat(branches=branches):
            runs = [(name, (branch,)) for branch in branches]
    for prefix, run in runs:
        yield prefix, run
        for own_name, inner in run:
            yield from _runs(dotted(prefix, own_name), inner)


def _judge(run: Named) -> Iterator[_Verdict]:
    """What becomes of each site of a run, in order."""
    before: tuple[str, Layer] | None = None
    for name, layer in run:
        if isinstance(layer, Recurrent):
            for own_name, norm in layer.norms:
                yield _Verdict(site=f"{name}.{own_name}", norm=norm, obstacle="it stands in a recurrent layer")
        elif isinstance(layer, Norm | NormActivation):
            obstacle = _of_norm(layer) or _of_place(before)
            yield _Verdict(site=name, norm=layer, into=before[0] if before else "", obstacle=obstacle)
            if not obstacle:
                continue  # a second norm would then stand straight after the same layer
        before = name, layer


def _of_norm(norm: Norm | NormActivation) -> str:
    """Why a norm cannot be folded wherever it stands; nothing if it can."""
    if isinstance(norm, NormActivation):
        return "it is norm and activation in one"
    if norm.norm == NormName.NONE:
        return "there is no norm, only an identity"
    if norm.norm not in DIVISORS:
        return f"norm {norm.norm!r} is not of the batch family"
    if not dict(norm.options).get("normalize", True):
        return "it only adds noise, and only in train mode"
    if not dict(norm.options).get("track", True):
        return "it keeps no running averages: eval mode uses those of the batch"
    return ""


def _of_place(before: tuple[str, Layer] | None) -> str:
    """Why a norm cannot be folded into what stands before it; nothing if it can."""
    if before is None:
        return "it stands at the start of a chain"
    name, layer = before
    if not isinstance(layer, Linear | Conv):
        return f"it stands after {name!r} ({layer.kind}), which is no linear layer or convolution"
    if layer.weight is not None:
        return f"the weights of {name!r} before it are computed by norm {layer.weight.norm!r}"
    return ""


def _without_folded(chain: Chain) -> Chain:
    into = {verdict.site: verdict.into for verdict in _judge(chain.layers) if not verdict.obstacle}

    def change(name: str, layer: Layer) -> Layer:
        return replace(layer, bias=True) if name in into.values() and isinstance(layer, Linear | Conv) else layer

    return Chain(layers=tuple((name, change(name, layer)) for name, layer in chain.layers if name not in into))


def _merge(state: dict[str, Tensor], layer: str, site: str, norm: Norm) -> None:
    """Put a norm's scale and shift into the weights of `layer`, and take the norm out of the state."""
    weight, bias = state[f"{layer}.weight"], state.get(f"{layer}.bias")
    begin = f"{site}.norm." if norm.tokens else f"{site}."
    own = {name.removeprefix(begin): state.pop(name) for name in list(state) if name.startswith(begin)}
    scale, shift = _scale_and_shift(norm, own, weight.device)
    if bias is not None:
        shift = shift + scale * bias.double()
    state[f"{layer}.weight"] = (weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))).to(weight.dtype)
    state[f"{layer}.bias"] = shift.to(weight.dtype)


def _scale_and_shift(norm: Norm, state: Mapping[str, Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """What a norm does to each channel in eval mode: x to scale * x + shift. (features,) each, in float64."""
    layer: Any = make_norm(norm.norm, norm.features, **dict(norm.options)).to(device, torch.float64)
    layer.load_state_dict(state)
    with torch.no_grad():
        scale = 1 / DIVISORS[norm.norm](layer)
        if layer.weight is not None:
            scale = scale * layer.weight
        shift = -scale * layer.running_mean
        return scale, shift if layer.bias is None else shift + layer.bias
