"""The loop: plain torch, told as a story. It knows no database and no queue, only a `Reporter`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.norms.running import RunningAverages
from worker.data.batches import Data
from worker.data.order import BatchOrder
from worker.early_stopping import EarlyStopping, Scores
from worker.ema import Ema
from worker.evaluate import Evaluator
from worker.objective import Objective
from worker.probes.base import Probes, State
from worker.protocols import Reporter, Stateful
from worker.recorder import StepRecorder
from worker.scaler import Scaler, Unscaled
from worker.snapshot import Place, snapshot
from worker.speed import Speed
from worker.statistics import Forward, SiteStatistics
from worker.stop import Interrupted, Stop, Wanted, interruptible
from worker.warmup import WarmUp

#: Before the first step.
BEGINNING = Place()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long, how much at a time, and what is recorded when; all intervals in optimizer steps."""

    steps: int
    #: Batches of one optimizer step.
    accumulate: int
    evaluate_every: int
    checkpoint_every: int
    #: Whether the best evaluation so far is to be saved.
    keep_best: bool = False
    #: Steps after which norms with running averages are frozen; none for never.
    freeze_after: int | None = None

    def is_frozen(self, step: int) -> bool:
        """Whether norms with running averages are frozen in a step."""
        return self.freeze_after is not None and step > self.freeze_after


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
    #: The best evaluation so far, by the metric that the job selects by.
    selection: Scores
    #: What each part was made from: where a fork wants it otherwise, it does not go on from the saved state.
    settings: Mapping[str, Any]
    #: Where the job has them: averaged weights, a schedule of the learning rate, a reason to stop early.
    ema: Ema | None = None
    scheduler: WarmUp | None = None
    stopping: EarlyStopping | None = None
    #: Of the loss, in half precision.
    scaler: Scaler = field(default_factory=Unscaled)

    @property
    def is_stopped_early(self) -> bool:
        """Whether there is reason not to go on."""
        return self.stopping is not None and self.stopping.reason is not None

    @property
    def models(self) -> list[nn.Module]:
        """The model, and its averaged copy if there is one."""
        return [self.model, self.ema.model] if self.ema is not None else [self.model]

    def parts(self) -> dict[str, Stateful]:
        """What has a state besides the weights, by the names of `settings`."""
        found = {
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "scaler": self.scaler,
            "statistics": self.statistics,
            "ema": self.ema,
            "selection": self.selection,
            "stopping": self.stopping,
        }
        return {name: part for name, part in found.items() if part is not None}


def train(run: Run, reporter: Reporter, wanted: Wanted, start: Place = BEGINNING) -> Stop | None:
    """Train from `start` to the last step, or to where it stops early; what stopped it otherwise, if anything did.

    Raises:
        Diverged: a training loss was not finite; what was recorded until then has been reported.
    """
    run.model.train()
    if start.step == run.plan.steps or run.is_stopped_early:
        reporter.first_step()  # all were done before: the job has only not been told
        return None
    try:
        return _train(run, reporter, wanted, start)
    except Interrupted as interrupted:
        flush(run, reporter)
        return interrupted.stop


def _train(run: Run, reporter: Reporter, wanted: Wanted, start: Place) -> Stop | None:
    plan, speed, place, saved = run.plan, Speed(), start, start.step
    for following, parts in schedule(plan, run.order, start):
        if (stop := wanted()) is not None:
            flush(run, reporter)
            reporter.progress(place.step, place.epoch, speed.samples_per_second())
            if stop.keeps_state and place.step > saved and reporter.takes_checkpoint(needed=True):
                reporter.checkpoint(snapshot(run, place, required=stop is Stop.PAUSE))
            return stop
        place, step, score = following, following.step, None
        probed = train_step(run, step, parts)
        speed.count(sum(map(len, parts)))
        if step == start.step + 1:
            reporter.first_step()
        last = step == plan.steps
        evaluated = last or step % plan.evaluate_every == 0
        if run.recorder.is_full() or evaluated or probed is not None:
            flush(run, reporter, sites=evaluated or run.statistics.is_full())
            reporter.progress(step, place.epoch, speed.samples_per_second())
        if probed is not None:
            with speed.paused(), interruptible([probed.before], wanted):
                run.probes.measure(step, probed)
        if evaluated:
            now = speed.samples_per_second()
            with speed.paused(), interruptible(run.models, wanted):
                score = evaluate(run, reporter, step, now)
        ends = last or run.is_stopped_early
        needed = ends or is_best(run, score)
        # Where the store is slower than the run, one that is due is left out: memory would fill with states.
        if (needed or step % plan.checkpoint_every == 0) and reporter.takes_checkpoint(needed=needed):
            flush(run, reporter)
            # Where records are flushed for checkpoints alone, nothing else says how far the run is.
            reporter.progress(step, place.epoch, speed.samples_per_second())
            reporter.checkpoint(snapshot(run, place, score=score, required=ends))
            saved = step
        if ends:
            return None
    return None


def is_best(run: Run, score: float | None) -> bool:
    """Whether a step with this score is the best so far, and that is to be saved."""
    return run.plan.keep_best and score is not None and run.selection.improved


def train_step(run: Run, step: int, parts: Sequence[Tensor]) -> State | None:
    """One optimizer step on the samples in the rows of each part; returns what probes want of it, if any is due.

    Each part is normalized by itself and moves the running averages; the gradient is that of all samples. Nothing
    here waits for the device.
    """
    if run.plan.is_frozen(step) and not run.averages.frozen:
        run.averages.freeze()
    if run.scheduler is not None:
        run.scheduler.begin_step()
    recorded = run.statistics.is_recorded(step)
    samples = sum(map(len, parts))
    run.optimizer.zero_grad(set_to_none=True)
    for part in parts:
        inputs, targets = run.data.train.batch(part)
        run.averages.clear()
        outputs = run.statistics.watch(run.forward, inputs) if recorded else run.forward(inputs)
        loss = run.objective.minimized(outputs, targets)
        share = run.objective.share(len(part), samples)
        run.scaler.scale(loss if share == 1 else loss * share).backward()
        run.averages.update()
        run.statistics.observe(step, len(part))
        run.recorder.record(step, run.objective.reported(loss, outputs), outputs, targets)
    run.scaler.unscale(run.optimizer)  # recorded gradients are those of the loss itself
    if recorded:
        run.statistics.take(step)
    before = run.probes.copy(step, run.model)
    run.scaler.step(run.optimizer)
    if run.ema is not None:
        run.ema.update()
    if before is None:
        return None
    lr = run.optimizer.param_groups[0]["lr"]
    return State(before=before, after=run.model, inputs=inputs, targets=targets, lr=lr, objective=run.objective)


def schedule(plan: Plan, order: BatchOrder, start: Place = BEGINNING) -> Iterator[tuple[Place, list[Tensor]]]:
    """Every step after `start`: where the run is after it, and the rows of each of its batches."""
    batches = batches_from(order, start)
    for step in range(start.step + 1, plan.steps + 1):
        drawn = list(islice(batches, plan.accumulate))
        epoch, batch, _ = drawn[-1]
        yield Place(step, epoch, batch), [rows for _, _, rows in drawn]


def batches_from(order: BatchOrder, start: Place) -> Iterator[tuple[int, int, Tensor]]:
    """Epoch, number in the epoch (both from 1) and rows of each batch that comes after `start`."""
    done = start.batches
    for epoch in count(start.epoch):
        for number, rows in enumerate(order.epoch(epoch)[done:], done + 1):
            yield epoch, number, rows
        done = 0


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


def evaluate(run: Run, reporter: Reporter, step: int, samples_per_second: float) -> float | None:
    """Report the metrics of every mode, the learning rate of the step and the speed; returns the step's score."""
    evaluation = run.evaluator.evaluate(run.ema)
    for site, values in evaluation.sites.items():
        reporter.population(site, step, values)
    metrics = dict(evaluation.metrics)
    metrics["lr"] = run.optimizer.param_groups[0]["lr"]
    metrics["samples_per_second"] = samples_per_second
    reporter.metrics("evaluation", [step], {name: np.array([value]) for name, value in metrics.items()})
    if run.stopping is not None:
        run.stopping.saw(metrics)
    return run.selection.saw(metrics)
