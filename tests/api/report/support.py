"""Experiments of made-up runs."""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from db.experiments.naming import name_of
from db.experiments.progress import Progress
from db.experiments.records import Arm, Run, Subject, Target
from db.experiments.status import CellStatus, ExperimentStatus
from db.spec.job import JobSpec
from db.spec.selection import Selection
from db.status import FailureCode
from tests.db.support import spec_values

METRIC = "test/accuracy"
STEPS = 1000
NONE, BATCH = {"name": "none"}, {"name": "batch"}
ACCURACY_TARGET = Target(metric=METRIC, value=0.9, greater_is_better=True)


def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved spec with values at dotted paths."""
    spec = copy.deepcopy(spec_values(norm=NONE, optimizer={"name": "SGD"}))
    for path, value in values.items():
        *parts, last = path.split(".")
        place = spec
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = value
    found = JobSpec.model_validate(spec).resolved().to_json()
    return {key: value for key, value in found.items() if key not in ("name", "labels", "seed")}


def make_arm(number: int, coordinates: Mapping[str, Any], is_baseline: bool = False, **more: Any) -> Arm:
    """All dimensions but "arm" set what they say; so does `spec`."""
    values = {path: value for path, value in coordinates.items() if path != "arm"}
    return Arm(
        number=number,
        arm_id=f"{number:064x}",
        name=more.get("name", name_of(coordinates)),
        coordinates=dict(coordinates),
        resolved=resolved(values | more.get("spec", {})),
        is_baseline=is_baseline,
        trial=more.get("trial"),
    )


def make_run(arm: int, seed: int, reached: int | None = None, final: float | str = 0.95, **more: Any) -> Run:
    """A run of 1000 steps that succeeded. It is as good as the target from step `reached` on."""
    step = more.pop("step", STEPS)
    # The first evaluation is at 50, and no run is there yet that reaches the target at 100.
    steps = np.arange(50, step + 1, 50)
    values = np.where(steps >= (reached or np.inf), 0.95, 0.5) + 0.001 * seed
    latest = {METRIC: {"value": final, "step": step}} | more.pop("latest", {})
    values_of = {"step": step, "steps": STEPS, "status": CellStatus.SUCCEEDED, "job": f"job_{arm}_{seed}"} | more
    return Run(
        arm=arm,
        cell_id=f"{arm}-{seed}",
        seed=seed,
        latest=latest,
        best={METRIC: latest[METRIC]},
        series=more.pop("series", {METRIC: (steps.tolist(), values)}),
        **{k: v for k, v in values_of.items() if k != "series"},
    )


def diverged_run(arm: int, seed: int, step: int = 300) -> Run:
    return make_run(arm, seed, step=step, final="NaN", status=CellStatus.FAILED, failure=FailureCode.DIVERGED)


def make_subject(
    arms: Sequence[Arm], runs: Sequence[Run], target: Target | None = ACCURACY_TARGET, **more: Any
) -> Subject:
    return Subject(
        id="exp_1",
        name=more.get("name", "norms by learning rate"),
        progress=make_progress(runs, **more.get("progress", {})),
        summary=more.get("summary"),
        search=more.get("search"),
        arms=arms,
        runs=runs,
        target=target,
        selection=more.get("selection", Selection(metric=METRIC, greater_is_better=True)),
    )


def make_progress(runs: Sequence[Run], **more: Any) -> Progress:
    values = {
        "status": ExperimentStatus.COMPLETED,
        "cells": Counter(run.status for run in runs),
        "total": len(runs),
        "reused": sum(run.is_reused for run in runs),
        "share": 1.0,
        "eta_seconds": None,
        "finished_at": None,
    }
    return Progress(**values | more)


def sweep(rates: Sequence[float], seeds: int = 3, evaluations: int = 50, **more: Any) -> Subject:
    """Norms by learning rate with all that a report shows: noise, diverged runs, one that is still in training."""
    generator = np.random.default_rng(0)
    norms = [
        NONE,
        BATCH,
        BATCH | {"momentum": 0.01},
        {"name": "layer"},
        {"name": "group", "groups": 2},
    ]
    points = [(norm, rate) for norm in norms for rate in rates]
    arms = [make_arm(n, {"norm": norm, "optimizer.lr": r}, norm is NONE) for n, (norm, r) in enumerate(points)]
    runs = [
        _noisy_run(arm, seed, 0.05 if arm.is_baseline else 0.15 + 0.05 * (arm.number % 7), evaluations, generator)
        for arm in arms
        for seed in range(seeds)
    ]
    return make_subject(arms, runs, **more)


def _noisy_run(arm: Arm, seed: int, pace: float, evaluations: int, generator: np.random.Generator) -> Run:
    lr = arm.coordinates["optimizer.lr"]
    if lr > (1 if arm.is_baseline else 8) and seed != 1:
        return diverged_run(arm.number, seed)
    steps = np.linspace(20, STEPS, evaluations).astype(int)
    values = 1 - np.exp(-pace * np.minimum(lr, 1) * steps / 8) * 0.97 + generator.normal(0, 0.005, len(steps))
    modes = {"eval_mode": 0.9, "train_mode": 0.93 + 0.01 * generator.random(), "precise": 0.91}
    latest = {f"gap/{mode}/accuracy": {"value": value, "step": STEPS} for mode, value in modes.items()}
    return make_run(
        arm.number,
        seed,
        final=float(values[-1]),
        latest=latest,
        series={METRIC: (steps.tolist(), values)},
        seconds=12.0 + seed,
        samples_per_second=51_234.0,
        findings=[("running_statistics_drift", "warn")] if seed == 0 else [],
        is_reused=seed == 2,
    )
