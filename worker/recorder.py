"""The numbers of each step: kept on the device, read in one go at a flush."""

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from worker.errors import Diverged

#: A flush is due after so many steps or seconds, whichever comes first.
FLUSH_STEPS = 1000
FLUSH_SECONDS = 1.0


class StepRecorder:
    """Loss and accuracy of the mini-batches, in train mode."""

    def __init__(self, every: int, learning_rate: Callable[[], float]) -> None:
        self._every = every
        self._learning_rate = learning_rate
        self._clear()
        self._flushed_at = time.monotonic()

    def _clear(self) -> None:
        self._steps: list[int] = []
        self._losses: list[Tensor] = []
        self._recorded: list[int] = []
        self._predictions: list[Tensor] = []
        self._targets: list[Tensor] = []

    def record(self, step: int, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Keep a step. Nothing here waits for the device."""
        self._steps.append(step)
        self._losses.append(loss.detach())
        if step % self._every == 0:
            self._recorded.append(step)
            self._predictions.append(logits.detach().argmax(1))
            self._targets.append(targets)

    def is_full(self) -> bool:
        """Whether a flush is due."""
        return len(self._steps) >= FLUSH_STEPS or time.monotonic() - self._flushed_at >= FLUSH_SECONDS

    def flush(
        self,
    ) -> tuple[list[int], dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]], Diverged | None]:
        """The recorded steps and their series, and the divergence if a loss was not finite.

        Rows beyond the first loss that is not finite are left out.
        """
        losses = torch.stack(self._losses).double().cpu().numpy() if self._losses else np.empty(0)
        diverged = self._first_divergence(losses)
        rows = np.array(self._recorded, dtype=np.int64)
        series = {}
        if self._recorded:
            sizes = [len(targets) for targets in self._targets]
            hits = (torch.cat(self._predictions) == torch.cat(self._targets)).cpu().numpy()
            starts = np.cumsum([0, *sizes[:-1]])
            keep = rows <= diverged.step if diverged is not None and diverged.step else slice(None)
            series = {
                "train/loss": losses[np.isin(self._steps, rows)][keep],
                "train/accuracy": (np.add.reduceat(hits.astype(np.float64), starts) / sizes)[keep],
            }
            rows = rows[keep]
        self._clear()
        self._flushed_at = time.monotonic()
        return rows.tolist(), series, diverged

    def _first_divergence(self, losses: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Diverged | None:
        bad = np.flatnonzero(~np.isfinite(losses))
        if not len(bad):
            return None
        loss = float(losses[bad[0]])
        return Diverged(self._steps[bad[0]], math.nan if math.isnan(loss) else loss, self._learning_rate())
