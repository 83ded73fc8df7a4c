"""Everything that takes part in a run, from the spec of its job."""

from typing import Any

import torch

from db.datasets import Task
from db.spec.job import JobSpec, units_to_record
from db.spec.selection import selection_metric, stopping_metric
from models.build import build
from models.memory import eval_batch
from models.norms.running import RunningAverages
from models.shapes import largest_output
from worker.data import batches
from worker.data.batches import Data, Samples
from worker.data.cache import CachedData
from worker.data.order import BatchOrder
from worker.device import in_precision
from worker.early_stopping import EarlyStopping, Scores
from worker.ema import Ema
from worker.evaluate import Evaluator
from worker.objective import Classification, Regression
from worker.optim import make_optimizer
from worker.probes.make import make_probes
from worker.recorder import StepRecorder
from worker.scaler import is_scaled, make_scaler
from worker.scheduler import make_scheduler
from worker.seeding import seed_everything
from worker.statistics import SiteStatistics, Wanted
from worker.trainer import Plan, Run

OBJECTIVES: dict[Task, type[Classification | Regression]] = {
    Task.CLASSIFICATION: Classification,
    Task.REGRESSION: Regression,
}


def make_run(spec: JobSpec, cached: CachedData, device: torch.device, *, begun: int = 0) -> Run:
    """Everything that takes part in a run, from its resolved spec. Seeds torch's global generator.

    `begun` is the step of another job after which the run goes on: a schedule that begins anew is over the rest.
    """
    seed_everything(spec.seed)
    blueprint = spec.blueprint()
    model = build(blueprint).to(device)
    data = place_data(spec, cached, device)
    order = make_order(spec, data.train)
    averages = RunningAverages(model.modules())
    optimizer = make_optimizer(spec.optimizer, model, fused=is_scaled(spec.precision))
    objective = OBJECTIVES[spec.dataset.info.task](spec.loss.reduction)
    most_samples = eval_batch(largest_output(blueprint))
    return Run(
        plan=make_plan(spec),
        data=data,
        order=order,
        model=model,
        forward=in_precision(model, spec.precision, device),
        optimizer=optimizer,
        averages=averages,
        objective=objective,
        probes=make_probes(spec.probes, data, order, most_samples),
        ema=None if spec.ema is None else Ema(model, decay=spec.ema.decay, use_buffers=spec.ema.use_buffers),
        scaler=make_scaler(spec.precision, device),
        scheduler=make_scheduler(spec.scheduler, optimizer, spec.total_steps() - begun),
        selection=make_selection(spec),
        stopping=make_stopping(spec),
        settings=settings_of_parts(spec),
        recorder=StepRecorder(objective, spec.record.every, lambda: float(optimizer.param_groups[0]["lr"])),
        statistics=SiteStatistics(
            model, blueprint, averages, make_wanted(spec), lambda: float(optimizer.param_groups[0]["lr"])
        ),
        evaluator=Evaluator(
            model,
            data,
            objective,
            batch_size=spec.batch_size,
            modes=spec.evaluate.modes,
            eval_batch=most_samples,
            population=spec.evaluate.population,
            order=order,
        ),
    )


def place_data(spec: JobSpec, cached: CachedData, device: torch.device) -> Data:
    """The job's samples on the device."""
    dataset, info = spec.dataset, spec.dataset.info
    return batches.place(
        cached.arrays,
        device,
        scale=1.0 if dataset.binarize else info.scale,
        standard=(info.mean, info.std) if dataset.standardize else None,
        train_limit=dataset.train_limit,
        test_limit=dataset.test_limit,
        validation_samples=dataset.validation_samples,
        # Train mode needs at least one whole batch of the subset.
        gap_samples=max(spec.evaluate.train_samples, spec.batch_size),
    )


def make_order(spec: JobSpec, train: Samples) -> BatchOrder:
    """The batches of the job's training samples."""
    classes = spec.dataset.classes_per_batch
    return BatchOrder(
        samples=len(train),
        size=spec.batch_size,
        seed=spec.seed,
        classes_per_batch=classes,
        labels=None if classes is None else train.targets.cpu(),
        device=train.targets.device,
    )


def make_wanted(spec: JobSpec) -> Wanted:
    """What the sites of a resolved spec record."""
    statistics = spec.statistics
    return Wanted(
        units=units_to_record(spec),
        percentiles=statistics.percentiles,
        details=statistics.details,
        every=statistics.every,
        steps=spec.resolved().steps or 0,
        accumulate=spec.optimizer.accumulate,
    )


def make_plan(spec: JobSpec) -> Plan:
    """The loop's numbers of a resolved spec."""
    resolved = spec.resolved()
    return Plan(
        steps=resolved.steps or 0,
        accumulate=spec.optimizer.accumulate,
        evaluate_every=resolved.evaluate.every or 1,
        checkpoint_every=spec.checkpoint.every,
        keep_best=spec.checkpoint.keep_best > 0,
        freeze_after=getattr(spec.norm, "freeze_after", None),
    )


def make_selection(spec: JobSpec) -> Scores:
    """The scores of the job's evaluations."""
    by = selection_metric(spec)
    return Scores(by.metric, greater_is_better=by.greater_is_better)


def make_stopping(spec: JobSpec) -> EarlyStopping | None:
    """When the job ends before its last step, if that is wanted."""
    by, wanted = stopping_metric(spec), spec.early_stopping
    if by is None or wanted is None:
        return None
    return EarlyStopping(
        by.metric,
        greater_is_better=by.greater_is_better,
        patience=wanted.patience,
        min_delta=wanted.min_delta,
        target=wanted.target,
    )


def settings_of_parts(spec: JobSpec) -> dict[str, Any]:
    """What each part of a run with a state of its own is made from."""
    values = spec.to_json()
    names = {
        "optimizer": ("optimizer", "precision"),
        "scheduler": ("scheduler", "optimizer", "precision", "steps"),
        "scaler": ("precision",),
        "order": ("dataset", "batch_size", "seed"),
        "statistics": ("statistics", "norm", "steps", "batch_size"),
        "ema": ("ema",),
        "selection": ("dataset",),
        "stopping": ("early_stopping", "dataset"),
        "seed": ("seed",),
    }
    return {part: {name: values[name] for name in fields} for part, fields in names.items()}
