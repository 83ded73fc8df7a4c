"""Optimizers by torch's names, with weight decay kept off the norms unless it is asked for."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from db.spec.optimizer import Optimizer


def make_optimizer(spec: Optimizer, model: nn.Module, norms: Iterable[nn.Module]) -> torch.optim.Optimizer:
    """The optimizer over all parameters of `model`; `norms` are its normalization layers.

    Decay on a norm's scale and shift changes what the norm does, not how large the weights are.
    """
    arguments: dict[str, Any] = spec.model_dump(exclude={"name", "decay_norm"})
    groups: list[dict[str, Any]] = [{"params": list(model.parameters())}]
    if not spec.decay_norm and spec.weight_decay:
        of_norms = {id(parameter) for norm in norms for parameter in norm.parameters()}
        groups = [
            {"params": [p for p in model.parameters() if id(p) not in of_norms]},
            {"params": [p for p in model.parameters() if id(p) in of_norms], "weight_decay": 0.0},
        ]
    optimizer: torch.optim.Optimizer = getattr(torch.optim, spec.name)(
        [group for group in groups if group["params"]], **arguments
    )
    return optimizer
