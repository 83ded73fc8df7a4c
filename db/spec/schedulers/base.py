"""What every scheduler of the learning rate has."""

from typing import Annotated

from pydantic import Field

from db.spec.base import Part
from db.spec.errors import spec_error
from db.spec.optimizer import Optimizer

Factor = Annotated[float, Field(strict=True, gt=0, le=1)]


class Schedule(Part):
    """A scheduler; what it counts begins after the warm-up."""

    warmup_steps: Annotated[int, Field(strict=True, ge=0, le=10**9)] = 0
    """Steps before the schedule begins, in which the rate rises evenly to its first one: step s of N takes s/N of
    it (Goyal et al. 2017, arXiv 1706.02677)."""

    def check(self, optimizer: Optimizer, steps: int) -> None:
        """The schedule suits the optimizer and a job of so many steps.

        Raises:
            PydanticCustomError: it does not.
        """
        if self.warmup_steps >= steps:
            raise spec_error(
                "warmup_too_long",
                "/scheduler/warmup_steps",
                f"The warm-up takes all of the {steps} steps. Take a shorter one, or train for longer.",
                allowed=f"0 to {steps - 1}",
            )
