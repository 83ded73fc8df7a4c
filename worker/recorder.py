"""The numbers of each step: kept on the device, read in one go at a flush."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.errors import Diverged
from worker.objective import Objective

Floats = NDArray[np.float64]

#: A flush is due after so many steps or seconds, whichever comes first.
FLUSH_STEPS = 1000
FLUSH_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class StepRows:
    """Recorded steps and their series, and the divergence if a loss was not finite."""

    steps: list[int]
    series: dict[str, Floats]
    diverged: Diverged | None


class StepRecorder:
    """Loss and scores of the mini-batches, in train mode."""

    def __init__(self, objective: Objective, every: int, learning_rate: Callable[[], float]) -> None:
        self._objective = objective
        self._every = every
        self._learning_rate = learning_rate
        self._clear()
        self._flushed_at = time.monotonic()

    def _clear(self) -> None:
        self._steps: list[int] = []
        self._losses: list[Tensor] = []
        self._recorded: list[int] = []
        self._sizes: list[int] = []
        self._kept: list[tuple[Tensor, ...]] = []

    def record(self, step: int, loss: Tensor, outputs: Tensor, targets: Tensor) -> None:
        """Keep a batch of a step, or its only one; `loss` is its mean. Nothing here waits for the device."""
        self._steps.append(step)
        self._losses.append(loss.detach())
        if step % self._every == 0:
            self._recorded.append(step)
            self._sizes.append(len(targets))
            self._kept.append(self._objective.keep(outputs, targets))

    def is_full(self) -> bool:
        """Whether a flush is due."""
        return len(self._steps) >= FLUSH_STEPS or time.monotonic() - self._flushed_at >= FLUSH_SECONDS

    def flush(self) -> StepRows:
        """What has been recorded since the last flush, on the host; nothing beyond a loss that is not finite."""
        losses = torch.stack(self._losses).double().cpu().numpy() if self._losses else np.empty(0)
        diverged = self._first_divergence(losses)
        steps, series = np.array(self._recorded, dtype=np.int64), {}
        if self._recorded:
            sizes = np.array(self._sizes)
            # The batches of one step count by their samples.
            steps, first = np.unique(steps, return_index=True)
            samples = np.add.reduceat(sizes, first)
            loss = np.add.reduceat(losses[np.isin(self._steps, steps)] * sizes, first) / samples
            scores = self._objective.scores(self._kept, loss, sizes, first)
            keep = steps <= (diverged.step if diverged else steps[-1])
            series = {f"train/{name}": values[keep] for name, values in ({"loss": loss} | scores).items()}
            steps = steps[keep]
        self._clear()
        self._flushed_at = time.monotonic()
        return StepRows(steps=steps.tolist(), series=series, diverged=diverged)

    def _first_divergence(self, losses: Floats) -> Diverged | None:
        bad = np.flatnonzero(~np.isfinite(losses))
        if not len(bad):
            return None
        return Diverged(self._steps[bad[0]], float(losses[bad[0]]), self._learning_rate())
