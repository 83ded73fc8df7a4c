"""How good the network is in eval mode, and how that differs from train mode."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.memory import EVAL_BATCH, LARGE_BATCH
from models.norms.base import Normalization
from models.norms.batch import StepBatchNorm
from worker import precise
from worker.batch_means import BATCHES
from worker.data.batches import Data, Samples
from worker.data.order import BatchOrder
from worker.ema import Ema
from worker.objective import Objective
from worker.precise import Population
from worker.sequential import sequential
from worker.subject import Findings, Subject, on_host


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Metrics by name; and what was found at each site, name to (values) or (time steps, values)."""

    metrics: dict[str, float]
    sites: dict[str, dict[str, NDArray[np.floating]]]


class Evaluator:
    """Test and validation metrics in eval mode, and on the fixed training subset the metrics of each mode.

    `modes` are of `eval` (running averages), `train` (batch statistics at the job's batch size and at
    `LARGE_BATCH`; ragged tail dropped, dropout off; after a freeze of the norms too, whose train mode then no
    longer uses them) and `precise` (population statistics, estimated on the same subset, as `population` says:
    `batch` or `sequential`). No evaluation changes a parameter, a running average or a generator.

    What is found at a site:

    - `population.<moment>`, with mode `precise`, of norms that keep running averages; and `drift.delta|rho|kl`,
      how far the running averages are from it. The averages of a recurrent cell are compared with the estimate of
      mode `batch`: their hidden states began with noise too.
    - `noise.job` and `noise.shuffled`, of the same norms: Std_B(mean_B) / sigma over up to 16 batches of the job's
      size with frozen weights, as the job draws them (`order`, in its epoch 0, which training does not use), and
      of the fixed subset, shuffled.
    - `test.delta` and `test.rho`, of every site: how its inputs on test data differ from those on the subset, in
      the passes of mode `precise`, or without it of mode `eval`.
    - `ema.delta|rho|kl`: the drift of an averaged model.

    `eval_batch` is how many samples a forward pass may take at once. `gap/train_mode_large` is left out where
    the subset has fewer than `LARGE_BATCH` samples, or where so many are more than that: it bounds memory, and
    smaller batches would measure something else.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Data,
        objective: Objective,
        *,
        batch_size: int,
        modes: Sequence[str],
        eval_batch: int = EVAL_BATCH,
        population: str = "batch",
        order: BatchOrder | None = None,
    ) -> None:
        self._model = model
        self._data = data
        self._objective = objective
        self._batch_size = batch_size
        self._eval_batch = eval_batch
        self._modes = modes
        self._population = population
        norms = [module for module in model.modules() if isinstance(module, Normalization)]
        self._uses_batch = any(norm.uses_batch for norm in norms)
        # A ragged batch has a noise of its own.
        rows = order.epoch(0) if order is not None else ()
        self._drawn = [part for part in rows if len(part) == batch_size][:BATCHES]

    @torch.no_grad()
    def evaluate(self, ema: Ema | None = None) -> Evaluation:
        """Of the model and of its averaged copy; both are left in the mode they were in."""
        # A recurrent layer begins with noise where batch norm uses the batch: training must not notice that there
        # was an evaluation.
        with precise.generators_kept(self._model):
            subject = Subject(self._model, **self._compared())
            metrics = self._metrics(subject, self._modes)
            if subject.populations:
                subject.means["job"].run(self._model, map(self._data.train.batch, self._drawn))
            sites = subject.findings()
            if ema is not None:
                averaged, drifts = self._evaluate_averaged(ema)
                metrics |= averaged
                for site, values in drifts.items():
                    sites[site] |= {name.replace("drift.", "ema."): value for name, value in values.items()}
            return Evaluation(metrics=metrics, sites=on_host(sites))

    def _compared(self) -> dict[str, str]:
        """The passes in which the inputs of norms on test and training data are compared: both in eval mode."""
        if "precise" in self._modes:
            return {"test_pass": "test/precise", "train_pass": "gap/precise"}
        return {"test_pass": "test", "train_pass": "gap/eval_mode"} if "eval" in self._modes else {}

    def _evaluate_averaged(self, ema: Ema) -> tuple[dict[str, float], Findings]:
        ema.settle()
        subject = Subject(ema.model)
        # Its weights were never trained on batch statistics of their own.
        metrics = self._metrics(subject, [mode for mode in self._modes if mode != "train"])
        return {f"ema/{name}": value for name, value in metrics.items()}, subject.drifts()

    def _metrics(self, subject: Subject, modes: Sequence[str]) -> dict[str, float]:
        measures = {"eval": self._eval_mode, "train": self._train_mode, "precise": self._precise}
        with precise.eval_mode(subject.model):
            metrics = self._measure(subject, "test", self._eval_batches(self._data.test))
            if self._data.validation is not None:
                metrics |= self._measure(subject, "validation", self._eval_batches(self._data.validation))
            for mode in modes:
                metrics |= measures[mode](subject)
        return metrics

    def _eval_mode(self, subject: Subject) -> dict[str, float]:
        return self._measure(subject, "gap/eval_mode", self._eval_batches(self._data.gap))

    def _train_mode(self, subject: Subject) -> dict[str, float]:
        with precise.left_alone(subject.norms), precise.batch_statistics(subject.model, subject.norms):
            metrics = self._measure(subject, "gap/train_mode", self._whole_batches(self._batch_size))
            if LARGE_BATCH <= min(len(self._data.gap), self._eval_batch):
                metrics |= self._measure(subject, "gap/train_mode_large", self._whole_batches(LARGE_BATCH))
        return metrics

    def _precise(self, subject: Subject) -> dict[str, float]:
        subject.populations = self._estimate(subject)
        with precise.substituted(subject.norms, subject.populations):
            metrics = self._measure(subject, "gap/precise", self._eval_batches(self._data.gap))
            return metrics | self._measure(subject, "test/precise", self._eval_batches(self._data.test))

    def _estimate(self, subject: Subject) -> list[Population]:
        model, norms, shuffled = subject.model, subject.norms, subject.means["shuffled"]
        with shuffled.watch(model):
            estimates = precise.estimate(model, norms, self._whole_batches(self._batch_size))
        if self._population == "batch":
            subject.references = estimates
            return estimates
        exact = sequential(model, norms, lambda: self._eval_batches(self._data.gap))
        # A cell's averages are of hidden states that began with noise (`models.cells`), as eval mode's do not.
        subject.references = [
            estimate if isinstance(norm, StepBatchNorm) else population
            for norm, estimate, population in zip(norms, estimates, exact, strict=True)
        ]
        return exact

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

    def _measure(self, subject: Subject, name: str, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Mean loss and scores over all samples of the batches."""
        tally = self._objective.tally(self._data.test.targets.device)
        with subject.watch(name):
            for inputs, targets in batches:
                tally.add(subject.model(inputs), targets)
        # Waits for the device; once for each pass.
        return {f"{name}/{metric}": value for metric, value in tally.metrics().items()}
