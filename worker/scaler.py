"""Scaling of the loss: in float16 small gradients would be 0 (Micikevicius et al. 2018, arXiv 1710.03740)."""

from typing import Any, Protocol

import torch
from torch import Tensor


class Scaler(Protocol):
    """What stands between a loss and the step of an optimizer. Nothing but the state waits for the device."""

    def scale(self, loss: Tensor) -> Tensor:
        """The loss to take gradients of. Every part of one step is scaled by the same factor."""

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Make the gradients those of the loss itself; once in each step, when they are complete."""

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the step, after `unscale`."""

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs, in plain numbers; waits for the device."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


class LossScaler:
    """By a factor that doubles after 2000 steps without an overflow and halves at one (`torch.amp.GradScaler`).

    A step whose gradients are not all finite leaves weights and the optimizer's averages as they are, which is how
    the factor is found: at the beginning and now and then it happens. The optimizer is a fused one
    (`worker.optim`): others would have to wait for the device to know.
    """

    def __init__(self, device: torch.device) -> None:
        self._scaler = torch.amp.GradScaler(device.type)

    def scale(self, loss: Tensor) -> Tensor:
        scaled: Tensor = self._scaler.scale(loss)
        return scaled

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._scaler.load_state_dict(state)


class Unscaled:
    """Of float32 and bfloat16, whose smallest numbers are small enough: the step as it is."""

    def scale(self, loss: Tensor) -> Tensor:
        return loss

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        pass

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def make_scaler(precision: str, device: torch.device) -> Scaler:
    """What a precision of the spec needs."""
    return LossScaler(device) if is_scaled(precision) else Unscaled()


def is_scaled(precision: str) -> bool:
    """Whether the loss is scaled, and the optimizer to be a fused one."""
    return precision == "float16"
