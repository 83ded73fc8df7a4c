"""How good the network is in eval mode, and how that differs from train mode."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from models.memory import EVAL_BATCH, LARGE_BATCH
from models.norms.base import Normalization, RunningNorm
from worker import precise
from worker.data.batches import Data, Samples
from worker.ema import Ema


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Metrics by name; and what was found at each site, name to (values) or (time steps, values)."""

    metrics: dict[str, float]
    sites: dict[str, dict[str, NDArray[np.floating]]]


class Evaluator:
    """Test metrics in eval mode, and on the fixed training subset the metrics of each mode.

    `modes` are of `eval` (running averages), `train` (batch statistics at the job's batch size and at
    `LARGE_BATCH`; ragged tail dropped, dropout off) and `precise` (population statistics, estimated on the
    same subset). No evaluation changes a parameter or a running average.

    `eval_batch` is how many samples a forward pass may take at once. `gap/train_mode_large` is left out where
    the subset has fewer than `LARGE_BATCH` samples, or where so many are more than that: it bounds memory, and
    smaller batches would measure something else.
    """

    def __init__(
        self, model: nn.Module, data: Data, *, batch_size: int, modes: Sequence[str], eval_batch: int = EVAL_BATCH
    ) -> None:
        self._model = model
        self._data = data
        self._batch_size = batch_size
        self._eval_batch = eval_batch
        self._modes = modes
        self._norms = [module for module in model.modules() if isinstance(module, RunningNorm)]
        norms = [module for module in model.modules() if isinstance(module, Normalization)]
        self._uses_batch = any(norm.uses_batch for norm in norms)

    @torch.no_grad()
    def evaluate(self, ema: Ema | None = None) -> Evaluation:
        """Of the model and of its averaged copy; both are left in the mode they were in."""
        measures = {"eval": self._eval_mode, "train": self._train_mode, "precise": self._precise}
        was_training = self._model.training
        self._model.eval()
        try:
            # A recurrent layer begins with noise where batch norm uses the batch: training must not notice that
            # there was an evaluation.
            with torch.random.fork_rng(_cuda_devices(self._data.test)):
                metrics = self._measure("test", self._eval_batches(self._data.test))
                for mode in self._modes:
                    metrics |= measures[mode]()
                return Evaluation(metrics=metrics, sites={})
        finally:
            self._model.train(was_training)

    def _eval_mode(self) -> dict[str, float]:
        return self._measure("gap/eval_mode", self._eval_batches(self._data.gap))

    def _train_mode(self) -> dict[str, float]:
        with precise.batch_statistics(self._model, self._norms):
            metrics = self._measure("gap/train_mode", self._whole_batches(self._batch_size))
            if LARGE_BATCH <= min(len(self._data.gap), self._eval_batch):
                metrics |= self._measure("gap/train_mode_large", self._whole_batches(LARGE_BATCH))
        return metrics

    def _precise(self) -> dict[str, float]:
        population = precise.estimate(self._model, self._norms, self._whole_batches(self._batch_size))
        with precise.substituted(self._norms, population):
            metrics = self._measure("gap/precise", self._eval_batches(self._data.gap))
            return metrics | self._measure("test/precise", self._eval_batches(self._data.test))

    def _whole_batches(self, size: int) -> Iterable[tuple[Tensor, Tensor]]:
        """The training subset without a ragged tail.

        Where nothing depends on the batch, all of it, as in eval mode: a tail left out would look like a gap.
        """
        if self._uses_batch:
            return self._data.gap.batches(size, drop_last=True)
        return self._eval_batches(self._data.gap)

    def _eval_batches(self, samples: Samples) -> Iterable[tuple[Tensor, Tensor]]:
        """All samples; no batch is of one, which a norm without running averages could not take."""
        size = self._eval_batch
        while len(samples) > size and len(samples) % size == 1:
            size += 1
        return samples.batches(size)

    def _measure(self, prefix: str, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Mean loss and accuracy over all samples of the batches."""
        samples = 0
        # Two sums that are there from the start: small tensors that stay behind after each batch would keep glibc
        # from using the memory between them again, 1 GiB in 1000 batches of 2 MiB.
        loss, hits = (
            torch.zeros((), dtype=torch.float64, device=self._data.test.targets.device) for _ in range(2)
        )
        for inputs, targets in batches:
            logits = self._model(inputs)
            loss += F.cross_entropy(logits, targets, reduction="sum")
            hits += (logits.argmax(1) == targets).sum()
            samples += len(targets)
        # .item() waits for the device; once for each pass
        return {f"{prefix}/loss": loss.item() / samples, f"{prefix}/accuracy": hits.item() / samples}


def _cuda_devices(samples: Samples) -> list[torch.device]:
    device = samples.targets.device
    return [device] if device.type == "cuda" else []
