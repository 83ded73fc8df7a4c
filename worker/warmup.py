"""A linear warm-up before any of torch's schedulers."""

import warnings
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler


class WarmUp:
    """Moves the learning rate: for some steps up to the first rate of another scheduler, then as that one does.

    Step s (from 1) of a warm-up of N steps takes s/N of that rate, and the step that follows it the rate itself.
    torch's `SequentialLR` would do so too, but not with schedulers that set rates of their own, as `OneCycleLR`.

    Schedulers go by the rates that the optimizer holds. To resume, make both anew, then load the states of both.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, after: LRScheduler, steps: int = 0) -> None:
        self._optimizer = optimizer
        self._after = after
        self._steps = steps
        self._begun = 0
        self._first_rates = [group["lr"] for group in optimizer.param_groups]

    def begin_step(self) -> None:
        """Before every optimizer step: gives it its rate, which the optimizer holds until the next step begins."""
        self._begun += 1
        if self._begun <= self._steps + 1:
            share = self._begun / self._steps if self._begun <= self._steps else 1.0
            for group, rate in zip(self._optimizer.param_groups, self._first_rates, strict=True):
                group["lr"] = rate * share
        elif self._begun == self._steps + 2:
            # torch would warn that the optimizer has taken no step before: it may have been skipped, its gradients
            # not finite in half precision, or taken before a resume.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                self._after.step()
        else:
            self._after.step()

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule stands: plain numbers and texts."""
        return {"begun": self._begun, "after": self._after.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._begun = state["begun"]
        self._after.load_state_dict(dict(state["after"]))  # CyclicLR takes things out of what it is given
