"""Optimizers by torch's names, with weight decay kept off the norms unless it is asked for."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from db.spec.optimizer import Optimizer
from models.layers import Residual
from models.norms.base import Normalization

#: Fields of the spec that are not the optimizer's own.
NOT_ARGUMENTS = {"name", "decay_norm", "accumulate"}


def make_optimizer(spec: Optimizer, model: nn.Module, *, fused: bool = False) -> torch.optim.Optimizer:
    """The optimizer over all parameters of `model`.

    Decay on a norm's scale and shift changes what the norm does, not how large the weights are. A `fused` one can
    skip a step on the device, as a scaled loss needs it (`worker.scaler`).
    """
    arguments: dict[str, Any] = spec.model_dump(exclude=NOT_ARGUMENTS)
    groups: list[dict[str, Any]] = [{"params": list(model.parameters())}]
    if not spec.decay_norm and spec.weight_decay:
        of_norms = {id(parameter) for parameter in norm_parameters(model)}
        groups = [
            {"params": [p for p in model.parameters() if id(p) not in of_norms]},
            {"params": [p for p in model.parameters() if id(p) in of_norms], "weight_decay": 0.0},
        ]
    optimizer: torch.optim.Optimizer = getattr(torch.optim, spec.name)(
        [group for group in groups if group["params"]], **arguments, fused=fused or None
    )
    if fused and arguments.get("momentum"):
        # torch's fused SGD makes them in the first step, and leaves them uninitialized if that one is skipped.
        for parameter in model.parameters():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def norm_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """What is learned by norms and by what stands in for them: scales, shifts, thresholds, lengths of weights."""
    for name, module in model.named_modules():
        if isinstance(module, Normalization):
            yield from module.parameters()
        elif isinstance(module, Residual) and module.alpha is not None:
            yield module.alpha
        elif name.endswith("parametrizations.weight") and hasattr(module, "original0"):
            yield module.original0  # weight norm's length of each filter
