"""The loop: plain torch, told as a story. It knows no database and no queue, only a `Reporter`."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.norms.running import RunningAverages
from worker.data.batches import Data
from worker.data.order import BatchOrder
from worker.ema import Ema
from worker.errors import Diverged
from worker.evaluate import Evaluator
from worker.objective import Objective
from worker.probes.base import Probes, State
from worker.recorder import StepRecorder
from worker.statistics import Forward, SiteStatistics

Series = Mapping[str, NDArray[np.floating]]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of a run on the host: enough to use the model and to go on training."""

    step: int
    weights: dict[str, Tensor]
    #: Averaged ones, where the job has any.
    averaged: dict[str, Tensor] | None = None
    optimizer: dict[str, Any]
    rng: dict[str, Tensor]


class Reporter(Protocol):
    """Where a run's numbers go. No call waits for a disk or a network."""

    def first_step(self) -> None:
        """The first optimizer step is done."""

    def progress(self, step: int, epoch: int, samples_per_second: float) -> None:
        """How far the run is, and how fast."""

    def metrics(self, stream: str, steps: Sequence[int], series: Series) -> None:
        """Rows of series that share their steps."""

    def statistics(self, site: str, steps: Sequence[int], moments: Series, percentiles: Series) -> None:
        """Rows of one site: name to (rows, values) or (rows, time steps, values), and to (rows, units)."""

    def population(self, site: str, step: int, values: Mapping[str, NDArray[np.floating]]) -> None:
        """What an evaluation found at one site: name to (values) or (time steps, values)."""

    def probe(self, name: str, step: int, values: Mapping[str, float]) -> None:
        """What one probe measured at one step."""

    def checkpoint(self, snapshot: Snapshot) -> None:
        """A state to keep."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long, how much at a time, and what is recorded when; all intervals in optimizer steps."""

    steps: int
    #: Batches of one optimizer step.
    accumulate: int
    evaluate_every: int
    checkpoint_every: int
    #: Steps after which norms with running averages are frozen; none for never.
    freeze_after: int | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that takes part in one training run."""

    plan: Plan
    data: Data
    order: BatchOrder
    model: nn.Module
    #: The model's forward pass in the job's precision; gives float32.
    forward: Forward
    optimizer: torch.optim.Optimizer
    averages: RunningAverages
    objective: Objective
    recorder: StepRecorder
    statistics: SiteStatistics
    probes: Probes
    evaluator: Evaluator
    #: Averaged weights, where the job has any.
    ema: Ema | None = None


def train(run: Run, reporter: Reporter, should_stop: Callable[[], bool]) -> bool:
    """Train to the last step; false if `should_stop` said so before it.

    Raises:
        Diverged: a training loss was not finite; what was recorded until then has been reported.
    """
    plan, speed = run.plan, Speed()
    run.model.train()
    for step, epoch, parts in schedule(plan, run.order):
        if should_stop():
            flush(run, reporter)
            reporter.progress(step - 1, epoch, speed.samples_per_second())
            return False
        if step - 1 == plan.freeze_after:
            run.averages.freeze()
        probed = train_step(run, step, parts)
        speed.count(sum(map(len, parts)))
        last = step == plan.steps
        if step == 1:
            reporter.first_step()
        if run.recorder.is_full() or last or probed is not None:
            flush(run, reporter, sites=run.statistics.is_full())
            reporter.progress(step, epoch, speed.samples_per_second())
        if probed is not None:
            with speed.paused():
                run.probes.measure(step, probed)
        if step % plan.evaluate_every == 0 or last:
            flush(run, reporter)
            now = speed.samples_per_second()
            with speed.paused():
                evaluate(run, reporter, step, now)
        if step % plan.checkpoint_every == 0 or last:
            flush(run, reporter)
            reporter.checkpoint(snapshot(run, step))
    return True


def train_step(run: Run, step: int, parts: Sequence[Tensor]) -> State | None:
    """One optimizer step on the samples in the rows of each part; returns what probes want of it, if any is due.

    Each part is normalized by itself and moves the running averages; the gradient is that of all samples. Nothing
    here waits for the device.
    """
    recorded = run.statistics.is_recorded(step)
    samples = sum(map(len, parts))
    run.optimizer.zero_grad(set_to_none=True)
    for part in parts:
        inputs, targets = run.data.train.batch(part)
        run.averages.clear()
        outputs = run.statistics.watch(run.forward, inputs) if recorded else run.forward(inputs)
        loss = run.objective.minimized(outputs, targets)
        share = run.objective.share(len(part), samples)
        (loss if share == 1 else loss * share).backward()
        run.averages.update()
        run.statistics.observe(step, len(part))
        run.recorder.record(step, run.objective.reported(loss, outputs), outputs, targets)
    if recorded:
        run.statistics.take(step)
    before = run.probes.copy(step, run.model)
    run.optimizer.step()
    if run.ema is not None:
        run.ema.update()
    if before is None:
        return None
    lr = run.optimizer.param_groups[0]["lr"]
    return State(before=before, after=run.model, inputs=inputs, targets=targets, lr=lr, objective=run.objective)


def schedule(plan: Plan, order: BatchOrder) -> Iterator[tuple[int, int, list[Tensor]]]:
    """Step, epoch (both from 1) and the rows of each batch of every step of the run."""
    batches = ((epoch, rows) for epoch in count(1) for rows in order.epoch(epoch))
    for step in range(1, plan.steps + 1):
        parts = list(islice(batches, plan.accumulate))
        yield step, parts[-1][0], [rows for _, rows in parts]


def flush(run: Run, reporter: Reporter, *, sites: bool = True) -> None:
    """Report what has been recorded; the one place of a training step where the host waits for the device.

    Without `sites` their statistics may wait for a later flush, unless the run ends here.

    Raises:
        Diverged: one of the losses was not finite.
    """
    train_rows = run.recorder.flush()
    if train_rows.steps:
        reporter.metrics("train", train_rows.steps, train_rows.series)
    diverged = train_rows.diverged
    last_step = diverged.step if diverged else None
    if sites or diverged is not None:
        for rows in run.statistics.flush(last_step=last_step):
            reporter.statistics(rows.site, rows.steps, rows.moments, rows.percentiles)
    for row in run.probes.flush(last_step=last_step):
        reporter.probe(row.name, row.step, row.values)
    if diverged is not None:
        raise diverged


def evaluate(run: Run, reporter: Reporter, step: int, samples_per_second: float) -> None:
    """Report the metrics of every mode, the learning rate and the speed."""
    evaluation = run.evaluator.evaluate(run.ema)
    for site, values in evaluation.sites.items():
        reporter.population(site, step, values)
    metrics = dict(evaluation.metrics)
    metrics["lr"] = run.optimizer.param_groups[0]["lr"]
    metrics["samples_per_second"] = samples_per_second
    reporter.metrics("evaluation", [step], {name: np.array([value]) for name, value in metrics.items()})


def snapshot(run: Run, step: int) -> Snapshot:
    """The state after `step`, copied to the host.

    Raises:
        Diverged: a weight or running average, of the averaged model too, is not finite, which the loss may not
            show yet.
    """
    run.averages.settle()
    states = {"": run.model.state_dict()}
    if run.ema is not None:
        run.ema.settle()
        states["the averaged "] = run.ema.model.state_dict()
    for which, state in states.items():
        for name, values in state.items():
            if not torch.isfinite(values).all():
                bad = float(values[~torch.isfinite(values)][0])
                raise Diverged(step, bad, run.optimizer.param_groups[0]["lr"], f"A value of {which}{name}")
    rng = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        rng["cuda"] = torch.cuda.get_rng_state()
    return Snapshot(
        step=step,
        weights=_on_host(dict(run.model.state_dict())),
        averaged=None if run.ema is None else _on_host(dict(run.ema.model.state_dict())),
        optimizer=_on_host(run.optimizer.state_dict()),
        rng=rng,
    )


def _on_host(value: Any) -> Any:
    """A copy of nested state with every tensor on the host."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {key: _on_host(inner) for key, inner in value.items()}
    return [_on_host(inner) for inner in value] if isinstance(value, list) else value


class Speed:
    """Samples per second of training, without the time of evaluations and probes."""

    def __init__(self) -> None:
        self._samples = 0
        self._started = time.monotonic()

    def count(self, samples: int) -> None:
        """Samples of one more step."""
        self._samples += samples

    def samples_per_second(self) -> float:
        """The mean since the start of the run."""
        return self._samples / max(1e-9, time.monotonic() - self._started)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time in this block does not count."""
        began = time.monotonic()
        yield
        self._started += time.monotonic() - began
