"""How far the loss and its gradient can be trusted along the gradient."""

from dataclasses import dataclass

import torch
from torch import Tensor

from worker.probes.base import State, Values
from worker.probes.subject import Subject
from worker.probes.vectors import Vector, distance, norm, on_host


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """Loss and gradient at theta(a) = theta - a * lr * gradient, for `points` values of a from `low` to `high`.

    Santurkar et al. 2018 (arXiv 1805.11604), section 3.2 and figure 4, on the step's own batch:

    - `loss` at theta; `loss_min` and `loss_max` over all theta(a);
    - `gradient_norm` at theta; `gradient_min` and `gradient_max` of ||gradient(theta) - gradient(theta(a))||, the
      gradient's predictiveness;
    - `beta`, the effective smoothness: the largest of the same over ||theta - theta(a)||;
    - `passes`, forward and backward each.

    Multiples are evenly spaced between their logarithms. Where high * lr is more than `largest_step`, all steps
    are shortened by one factor, so that this is the longest: the range keeps its ratio, and with a learning rate
    that large may end before the run's own step. The direction is the gradient's whatever the optimizer, as the
    definition has it: with momentum or Adam it is not the next step.
    """

    name = "landscape"
    every: int
    low: float
    high: float
    points: int
    largest_step: float | None

    def measure(self, state: State) -> Values:
        subject = Subject(state)
        theta = subject.learned()
        loss, gradient = subject.gradients(list(theta))
        found = [_along(subject, theta, gradient, step) for step in self.steps(state.lr)]
        losses, changes, slopes = (torch.stack(column) for column in zip(*found, strict=True))
        numbers = {"loss": loss, "loss_min": losses.amin(), "loss_max": losses.amax()}
        numbers |= {
            "gradient_norm": norm(gradient),
            "gradient_min": changes.amin(),
            "gradient_max": changes.amax(),
        }
        return on_host(numbers | {"beta": slopes.amax()}) | {"passes": subject.passes}

    def steps(self, lr: float) -> list[float]:
        """What the gradient is multiplied by, a * lr, from the smallest on."""
        ratio = (self.high / self.low) ** (1 / (self.points - 1))
        scale = lr if self.largest_step is None else min(lr, self.largest_step / self.high)
        return [scale * self.low * ratio**point for point in range(self.points)]


def _along(subject: Subject, theta: Vector, gradient: Vector, step: float) -> tuple[Tensor, Tensor, Tensor]:
    """After one step along the gradient: the loss, how far the gradient there is from it, and that by the way."""
    place = {name: torch.sub(value, gradient[name], alpha=step) for name, value in theta.items()}
    loss, there = subject.gradients(list(theta), place)
    change = distance(gradient, there)
    return loss, change, change / distance(theta, place)
