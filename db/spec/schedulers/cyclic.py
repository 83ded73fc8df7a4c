"""Schedulers that raise the rate and lower it again, and the momentum against it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from db.spec.base import Count, Flag, PositiveFloat
from db.spec.errors import spec_error
from db.spec.optimizer import Optimizer
from db.spec.schedulers.base import Factor, Schedule

#: Of a momentum, or of a cycle.
Share = Annotated[float, Field(strict=True, ge=0, lt=1)]
CycleMomentum = Annotated[
    bool,
    Field(
        strict=True,
        description="Move momentum (of AdamW the first of betas) between max_momentum and base_momentum, down "
        "when the rate goes up, in place of the optimizer's own.",
    ),
]


class CyclingMomentum(Schedule):
    """A scheduler that may move the momentum too, against the rate."""

    cycle_momentum: CycleMomentum

    def check(self, optimizer: Optimizer, steps: int) -> None:
        super().check(optimizer, steps)
        # torch would switch the momentum on.
        if self.cycle_momentum and not getattr(optimizer, "momentum", True):
            raise spec_error(
                "no_momentum",
                "/scheduler/cycle_momentum",
                "The optimizer has no momentum that could be moved. Set cycle_momentum to false, or give "
                "optimizer.momentum a value above 0.",
                allowed=[False],
            )


class OneCycleLR(CyclingMomentum):
    """`torch.optim.lr_scheduler.OneCycleLR`: up to max_lr and down again.

    Smith & Topin 2018 (arXiv 1708.07120). The rates are max_lr and parts of it, whatever optimizer.lr says.
    """

    name: Literal["OneCycleLR"]
    max_lr: PositiveFloat
    """The highest rate."""
    total_steps: Count | None = None
    """Length of the cycle; null for all steps after the warm-up."""
    pct_start: Share = 0.3
    """Share of the cycle in which the rate rises."""
    anneal_strategy: Literal["cos", "linear"] = "cos"
    """The form of rise and fall."""
    cycle_momentum: CycleMomentum = True
    base_momentum: Share = 0.85
    """The lowest momentum."""
    max_momentum: Share = 0.95
    """The highest momentum."""
    div_factor: PositiveFloat = 25.0
    """max_lr over the first rate."""
    final_div_factor: PositiveFloat = 1e4
    """The first rate over the last one."""
    three_phase: Flag = False
    """Fall to the first rate as fast as the rate rose, and then to the last."""

    @model_validator(mode="after")
    def _check_phases(self) -> Self:
        if self.three_phase and self.pct_start > 0.5:
            message = "Rise and fall of the same length leave at most half of the cycle for each."
            raise spec_error("phases_too_long", "/scheduler/pct_start", message, allowed="0 to 0.5")
        return self

    def check(self, optimizer: Optimizer, steps: int) -> None:
        super().check(optimizer, steps)
        left = steps - self.warmup_steps
        total = self.total_steps or left
        if total < left:
            raise spec_error(
                "cycle_too_short",
                "/scheduler/total_steps",
                f"The job has {left} steps after the warm-up, and the cycle ends before. Leave total_steps out.",
                allowed=f"at least {left}",
            )
        # torch divides by what the rise has beyond its first step.
        if self.pct_start * total == 1:
            raise spec_error(
                "rise_of_one_step",
                "/scheduler/pct_start",
                f"The rise would be a single one of {total} steps. Take a larger share, or 0 for no rise.",
            )


class CyclicLR(CyclingMomentum):
    """`torch.optim.lr_scheduler.CyclicLR`: up and down between two rates, time and again.

    Smith 2017 (arXiv 1506.01186). The rates are these, whatever optimizer.lr says.
    """

    name: Literal["CyclicLR"]
    base_lr: PositiveFloat
    """The lowest rate, of the first step."""
    max_lr: PositiveFloat
    """The highest rate."""
    step_size_up: Count = 2000
    """Steps of a rise."""
    step_size_down: Count | None = None
    """Steps of a fall; null for as many as of a rise."""
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    """Every cycle the same; each half as high as the one before; or its height times gamma for each step."""
    gamma: Factor = 1.0
    """Of mode exp_range."""
    cycle_momentum: CycleMomentum = False
    base_momentum: Share = 0.8
    """The lowest momentum."""
    max_momentum: Share = 0.9
    """The highest momentum."""

    @model_validator(mode="after")
    def _check_rates(self) -> Self:
        if self.max_lr < self.base_lr:
            message = "The highest rate is below the lowest, base_lr. Exchange them."
            raise spec_error("not_increasing", "/scheduler/max_lr", message, allowed=f"at least {self.base_lr:g}")
        return self

    def check(self, optimizer: Optimizer, steps: int) -> None:
        super().check(optimizer, steps)
        cycle = self.step_size_up + (self.step_size_down or self.step_size_up)
        # torch takes 2 to the power of the cycle, which ends at 1024.
        if self.mode == "triangular2" and steps - self.warmup_steps >= 1000 * cycle:
            raise spec_error(
                "too_many_cycles",
                "/scheduler/step_size_up",
                f"The job has more than 1000 cycles of {cycle} steps, each half as high as the one before: make "
                "them longer, or choose mode 'triangular'.",
            )
