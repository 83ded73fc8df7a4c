"""Averaged weights: a second model beside the one that is trained."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from models.norms.base import RunningNorm


class Ema:
    """An exponential moving average of a model's parameters and, with `use_buffers`, of its running statistics.

    average = decay * average + (1 - decay) * weights after each step; it begins as the weights after the first.
    As `torch.optim.swa_utils.AveragedModel`, which however looks at all buffers (scratch
    and counts too) in every step and waits for the device. Without `use_buffers` the running statistics are those
    of the model itself, as there. Other buffers always are. Make it after `RunningAverages`.
    """

    def __init__(self, model: nn.Module, *, decay: float, use_buffers: bool) -> None:
        #: The averaged model; call `settle` before its buffers are read.
        self.model = deepcopy(model).requires_grad_(False)
        self._source = model
        self._average = get_ema_multi_avg_fn(decay)
        # Listed once: to find them again takes as long as to average them.
        self._newest = list(_averaged(model, use_buffers))
        self._averaged = list(_averaged(self.model, use_buffers))
        self._begun = False

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after one more step; nothing here waits for the device."""
        if self._begun:
            self._average(self._averaged, self._newest, 0)
        else:
            torch._foreach_copy_(self._averaged, self._newest)
        self._begun = True

    @torch.no_grad()
    def settle(self) -> None:
        """Take over from the model what is not averaged."""
        averaged = {id(tensor) for tensor in self._averaged}
        for own, newest in zip(self.model.buffers(), self._source.buffers(), strict=True):
            if id(own) not in averaged:
                own.copy_(newest)

    def state_dict(self) -> dict[str, Any]:
        """What the averaged model itself does not hold."""
        return {"begun": self._begun}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the averaged model's own has been loaded."""
        self._begun = state["begun"]


def _averaged(model: nn.Module, use_buffers: bool) -> Iterator[Tensor]:
    yield from model.parameters()
    for norm in model.modules() if use_buffers else ():
        if isinstance(norm, RunningNorm):
            yield from (running for _, _, running in norm.running())
