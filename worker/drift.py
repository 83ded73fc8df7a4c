"""How far two sets of moments lie apart, channel by channel."""

from collections.abc import Mapping

import torch
from torch import Tensor

from models.norms.base import RunningNorm


def drift(stored_mean: Tensor | None, stored_var: Tensor, mean: Tensor, var: Tensor) -> dict[str, Tensor]:
    """Of stored moments from the population's: `drift.delta`, `drift.rho` and `drift.kl`, without a mean only rho.

    delta = |stored_mean - mean| / sigma, rho = ln(stored_var / var), and kl = (e^rho + delta^2 - 1 - rho) / 2, the
    Kullback-Leibler divergence of normal distributions with these moments.
    """
    rho = log_ratio(stored_var, var)
    if stored_mean is None:
        return {"drift.rho": rho}
    delta = ratio((stored_mean - mean).abs(), var.sqrt())
    return {"drift.delta": delta, "drift.rho": rho, "drift.kl": (rho.exp() + delta.square() - 1 - rho) / 2}


def drift_of(
    norm: RunningNorm, stored: Mapping[str, Tensor], population: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """`drift` of moments as a norm stores them, in float64; nothing where they tell no variance."""
    stored_var, var = norm.variance(stored), norm.variance(population)
    if stored_var is None or var is None:
        return {}
    stored_mean, mean = (moments.get("mean", var).double() for moments in (stored, population))
    return drift(stored_mean if "mean" in stored else None, stored_var.double(), mean, var.double())


def ratio(value: Tensor, reference: Tensor) -> Tensor:
    """The quotient, and 0 for 0 / 0: of a constant channel whose constant is right."""
    return torch.where(value == 0, value, value / reference)


def log_ratio(value: Tensor, reference: Tensor) -> Tensor:
    """ln(value / reference), and 0 where both are equal, 0 included."""
    return torch.where(value == reference, torch.zeros_like(value), (value / reference).log())
