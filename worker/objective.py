"""What training minimizes, and how good the outputs of a network are."""

from typing import Protocol

from torch import Tensor
from torch.nn import functional as F


class Objective(Protocol):
    """Of a task. outputs: (N, outputs) float32; targets: what the data has."""

    def minimized(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss whose gradient training follows: a scalar."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss, which is reported: a scalar."""


class Classification:
    """Cross-entropy. targets: (N,) int64."""

    def minimized(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets)
