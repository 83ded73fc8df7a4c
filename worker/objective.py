"""What training minimizes, and how good the outputs of a network are: one class for each task."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

#: Of the minimized loss, over samples and in regression over their outputs too.
Reduction = Literal["mean", "sum"]

Floats = NDArray[np.float64]
Whole = NDArray[np.integer[Any]]


class Tally(Protocol):
    """Sums over samples that come in batches, kept on the device."""

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Count a batch in. Nothing here waits for the device."""

    def metrics(self) -> dict[str, float]:
        """Mean loss and scores of all samples so far; waits for the device."""


class Objective(Protocol):
    """Of a task. outputs: (N, outputs) float32; targets: what the data has.

    What is minimized may be a sum; every loss that is reported is a mean, so that they compare.
    """

    def minimized(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss whose gradient training follows: a scalar."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss, which is reported: a scalar."""

    def reported(self, minimized: Tensor, outputs: Tensor) -> Tensor:
        """The mean loss of a batch whose minimized one is known."""

    def share(self, part: int, samples: int) -> float:
        """The factor of the minimized loss of `part` samples in that of all `samples` of a step."""

    def keep(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """What the scores of a batch need, on the device and without a graph."""

    def scores(
        self, kept: Sequence[tuple[Tensor, ...]], losses: Floats, sizes: Whole, first: Whole
    ) -> dict[str, Floats]:
        """The scores of steps by name: (steps); waits for the device.

        Args:
            kept: of each batch, one tuple.
            losses: the mean loss of each step.
            sizes: samples of each batch.
            first: the index of each step's first batch.
        """

    def tally(self, device: torch.device) -> Tally:
        """A tally of nothing so far."""


class _Reduced:
    """A loss of torch's, minimized as the mean of its terms or as their sum."""

    _loss: Callable[..., Tensor]

    def __init__(self, reduction: Reduction = "mean") -> None:
        self._reduction = reduction

    def minimized(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._loss(outputs, targets, reduction=self._reduction)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._loss(outputs, targets)

    def reported(self, minimized: Tensor, outputs: Tensor) -> Tensor:
        return minimized if self._reduction == "mean" else minimized.detach() / self._terms(outputs)

    def share(self, part: int, samples: int) -> float:
        return part / samples if self._reduction == "mean" else 1.0

    def _terms(self, outputs: Tensor) -> int:
        raise NotImplementedError


class Classification(_Reduced):
    """Cross-entropy and accuracy. targets: (N,) int64."""

    _loss = staticmethod(F.cross_entropy)

    def _terms(self, outputs: Tensor) -> int:
        return len(outputs)

    def keep(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        return outputs.detach().argmax(1), targets

    def scores(
        self, kept: Sequence[tuple[Tensor, ...]], losses: Floats, sizes: Whole, first: Whole
    ) -> dict[str, Floats]:
        predictions, targets = (torch.cat(column) for column in zip(*kept, strict=True))
        hits = (predictions == targets).cpu().numpy().astype(np.float64)
        correct = np.add.reduceat(hits, np.cumsum([0, *sizes[:-1]])[first])
        return {"accuracy": correct / np.add.reduceat(sizes, first)}

    def tally(self, device: torch.device) -> Tally:
        return _Hits(device)


class Regression(_Reduced):
    """Mean squared error, its root `rmse`, and `r2` over all outputs together. targets: (N, outputs) float32.

    r2 = 1 - (sum of squared errors) / (sum of squared distances of the targets from the mean of each output over
    the same samples). Where those distances are all 0, as in a batch of one sample, r2 is 1 if there is no error
    and else 0, as in sklearn.metrics.r2_score.
    """

    _loss = staticmethod(F.mse_loss)

    def _terms(self, outputs: Tensor) -> int:
        return outputs.numel()

    def keep(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        # The errors are in the loss.
        return torch.var_mean(targets, 0, correction=0)

    def scores(
        self, kept: Sequence[tuple[Tensor, ...]], losses: Floats, sizes: Whole, first: Whole
    ) -> dict[str, Floats]:
        var, mean = (torch.stack(column).double().cpu().numpy() for column in zip(*kept, strict=True))
        samples, weights = np.add.reduceat(sizes, first), sizes[:, None]
        center = np.add.reduceat(mean * weights, first) / samples[:, None]
        distance = mean - np.repeat(center, np.diff([*first, len(sizes)]), axis=0)
        spread = np.add.reduceat((var + distance**2) * weights, first).sum(1)
        return {"rmse": np.sqrt(losses), "r2": _r2(losses * samples * var.shape[1], spread)}

    def tally(self, device: torch.device) -> Tally:
        return _Errors(device)


def _r2(error: Floats, spread: Floats) -> Floats:
    constant = spread == 0
    return np.where(constant, error == 0, 1 - error / np.where(constant, 1, spread))


class _Hits:
    def __init__(self, device: torch.device) -> None:
        self._samples = 0
        # Two sums that are there from the start: small tensors that stay behind after each batch would keep glibc
        # from using the memory between them again, 1 GiB in 1000 batches of 2 MiB.
        self._loss, self._hits = (torch.zeros((), dtype=torch.float64, device=device) for _ in range(2))

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        self._loss += F.cross_entropy(outputs, targets, reduction="sum")
        self._hits += (outputs.argmax(1) == targets).sum()
        self._samples += len(targets)

    def metrics(self) -> dict[str, float]:
        return {"loss": self._loss.item() / self._samples, "accuracy": self._hits.item() / self._samples}


class _Errors:
    def __init__(self, device: torch.device) -> None:
        self._samples = self._values = 0
        # Squared errors, and mean and squared distances from it of the targets of each output.
        self._error, self._mean, self._spread = (
            torch.zeros((), dtype=torch.float64, device=device) for _ in range(3)
        )

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        self._error += F.mse_loss(outputs, targets, reduction="sum")
        size = len(targets)
        var, mean = torch.var_mean(targets.double(), 0, correction=0)
        # Chan, Golub & LeVeque 1979: sums of squares would cancel where the mean is large.
        distance, part = mean - self._mean, size / (self._samples + size)
        self._mean = self._mean + distance * part
        self._spread = self._spread + size * var + distance**2 * (self._samples * part)
        self._samples += size
        self._values += outputs.numel()

    def metrics(self) -> dict[str, float]:
        error = self._error.item()
        r2 = _r2(np.array(error), np.array(self._spread.sum().item()))
        loss = error / self._values
        return {"loss": loss, "rmse": math.sqrt(loss), "r2": float(r2)}
