"""Trainings as a worker runs them, without the service around them."""

from typing import Any

import torch

from db.spec.job import JobSpec
from tests.worker.support import Kept
from worker import assembly as runs
from worker.data.cache import CachedData
from worker.trainer import Run, train

SEEDS = (0, 1, 2)

torch.set_num_threads(1)


def trained(data: CachedData, **spec: Any) -> tuple[Run, Kept]:
    """A whole job; nothing is recorded or evaluated on the way but what `spec` asks for."""
    values = {"device": "cpu", "evaluate": {"every": 10**9}, "checkpoint": {"every": 10**9}} | spec
    run, kept = runs.make_run(JobSpec.model_validate(values).resolved(), data, torch.device("cpu")), Kept()
    assert train(run, kept, lambda: None) is None
    return run, kept


def last(kept: Kept, name: str) -> float:
    """A metric of the last evaluation."""
    return float(kept.series(name, "evaluation")[-1])
