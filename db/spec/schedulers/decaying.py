"""Schedulers that go by factors, and those that lower the rate along a curve."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from db.spec.base import Count, NonNegativeFloat, PositiveFloat
from db.spec.errors import spec_error
from db.spec.schedulers.base import Factor, Schedule


class StepLR(Schedule):
    """`torch.optim.lr_scheduler.StepLR`: the rate times gamma after every step_size steps."""

    name: Literal["StepLR"]
    step_size: Count
    """Steps between two changes."""
    gamma: PositiveFloat = 0.1
    """Factor of each change."""


class MultiStepLR(Schedule):
    """`torch.optim.lr_scheduler.MultiStepLR`: the rate times gamma at each milestone."""

    name: Literal["MultiStepLR"]
    milestones: Annotated[tuple[Count, ...], Field(min_length=1, max_length=100)]
    """Steps after which the rate changes, in increasing order."""
    gamma: PositiveFloat = 0.1
    """Factor of each change."""

    @model_validator(mode="after")
    def _check_increasing(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise spec_error(
                "not_increasing", "/scheduler/milestones", "Each milestone must be larger than the one before it."
            )
        return self


class ExponentialLR(Schedule):
    """`torch.optim.lr_scheduler.ExponentialLR`: the rate times gamma after every step."""

    name: Literal["ExponentialLR"]
    gamma: PositiveFloat
    """Factor of each step: 0.9999 is a third of the rate after 11,000 steps."""


class CosineAnnealingLR(Schedule):
    """`torch.optim.lr_scheduler.CosineAnnealingLR`: half a cosine down to eta_min.

    Loshchilov & Hutter 2017 (arXiv 1608.03983), without restarts.
    """

    name: Literal["CosineAnnealingLR"]
    T_max: Count | None = None
    """Steps until eta_min, after which the rate rises again; null for all after the warm-up."""
    eta_min: NonNegativeFloat = 0.0
    """The lowest rate."""


class CosineAnnealingWarmRestarts(Schedule):
    """`torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`: half cosines, each from the full rate.

    Loshchilov & Hutter 2017 (arXiv 1608.03983).
    """

    name: Literal["CosineAnnealingWarmRestarts"]
    T_0: Count
    """Steps until the first restart."""
    T_mult: Count = 1
    """How many times as long each next period is."""
    eta_min: NonNegativeFloat = 0.0
    """The lowest rate."""


class LinearLR(Schedule):
    """`torch.optim.lr_scheduler.LinearLR`: from one share of the rate evenly to another."""

    name: Literal["LinearLR"]
    start_factor: Factor = 1 / 3
    """Share of the rate at the start."""
    end_factor: Annotated[float, Field(strict=True, ge=0, le=1)] = 1.0
    """Share of the rate at the end, and from then on."""
    total_iters: Count | None = 5
    """Steps from start to end; null for all after the warm-up."""


class ConstantLR(Schedule):
    """`torch.optim.lr_scheduler.ConstantLR`: a share of the rate, then all of it; of factor 1 a constant rate."""

    name: Literal["ConstantLR"]
    factor: Factor = 1 / 3
    """Share of the rate at first."""
    total_iters: Count = 5
    """Steps with that share."""


class PolynomialLR(Schedule):
    """`torch.optim.lr_scheduler.PolynomialLR`: down to 0, by a power of the share of steps that are left."""

    name: Literal["PolynomialLR"]
    total_iters: Count | None = None
    """Steps until the rate is 0, where it stays; null for all after the warm-up (torch's default is 5 epochs)."""
    power: PositiveFloat = 1.0
    """1 for a straight line."""
