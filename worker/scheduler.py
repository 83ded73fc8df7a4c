"""Schedulers of the learning rate by torch's names."""

from typing import Any

import torch
from torch.optim import lr_scheduler

from db.spec.schedulers.union import Scheduler
from worker.warmup import WarmUp

#: Arguments whose null stands for all steps after the warm-up.
LENGTHS = ("T_max", "total_iters", "total_steps")


def make_scheduler(spec: Scheduler | None, optimizer: torch.optim.Optimizer, steps: int) -> WarmUp | None:
    """The scheduler of a job of so many optimizer steps; none for a constant rate.

    After a step and until the next one begins, the optimizer holds the rate that the step used: what is recorded,
    evaluated and saved at a step shows its own rate, not that of the one to come.
    """
    if spec is None:
        return None
    arguments: dict[str, Any] = spec.model_dump(exclude={"name", "warmup_steps"})
    left = steps - spec.warmup_steps
    arguments |= {name: left for name in LENGTHS if name in arguments and arguments[name] is None}
    made: lr_scheduler.LRScheduler = getattr(lr_scheduler, spec.name)(optimizer, **arguments)
    return WarmUp(optimizer, made, spec.warmup_steps)
