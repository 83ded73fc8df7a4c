"""Small runs on digits, and a reporter that keeps what it is told."""

from typing import Any

import numpy as np
import torch
from torch import nn

from db.spec.job import JobSpec
from tests.db.support import make_spec
from worker import assembly as runs
from worker.data.cache import CachedData
from worker.snapshot import Snapshot
from worker.trainer import Run, train

CPU = torch.device("cpu")


class Kept:
    """A `Reporter` in memory."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.streams: dict[str, list[tuple[list[int], dict[str, np.ndarray]]]] = {}
        self.sites: dict[str, list[tuple[list[int], dict[str, np.ndarray], dict[str, np.ndarray]]]] = {}
        self.progresses: list[tuple[int, int, float]] = []
        self.populations: dict[str, list[tuple[int, dict[str, np.ndarray]]]] = {}
        self.probes: dict[str, list[tuple[int, dict[str, float]]]] = {}
        self.snapshots: list[Snapshot] = []

    def first_step(self) -> None:
        self.calls.append("first_step")

    def progress(self, step: int, epoch: int, samples_per_second: float) -> None:
        self.calls.append("progress")
        self.progresses.append((step, epoch, samples_per_second))

    def metrics(self, stream: str, steps, series) -> None:
        self.calls.append(f"metrics {stream}")
        self.streams.setdefault(stream, []).append((list(steps), dict(series)))

    def statistics(self, site: str, steps, moments, percentiles) -> None:
        self.calls.append(f"statistics {site}")
        self.sites.setdefault(site, []).append((list(steps), dict(moments), dict(percentiles)))

    def population(self, site: str, step: int, values) -> None:
        self.calls.append(f"population {site}")
        self.populations.setdefault(site, []).append((step, dict(values)))

    def probe(self, name: str, step: int, values) -> None:
        self.calls.append(f"probe {name}")
        self.probes.setdefault(name, []).append((step, dict(values)))

    def takes_checkpoint(self, *, needed: bool = False) -> bool:
        return True

    def checkpoint(self, snapshot: Snapshot) -> None:
        self.calls.append(f"checkpoint {snapshot.step}")
        self.snapshots.append(snapshot)

    def steps(self, stream: str = "train") -> list[int]:
        return [step for steps, _ in self.streams.get(stream, []) for step in steps]

    def series(self, name: str, stream: str = "train") -> np.ndarray:
        return np.concatenate([series[name] for _, series in self.streams[stream]])


def small_spec(**changes: Any) -> JobSpec:
    """50 steps of a small network; evaluated and saved at the end."""
    return make_spec(**{"steps": 50, "device": "cpu", "evaluate": {"every": 1000}} | changes).resolved()


def make_run(digits: CachedData, **changes: Any) -> Run:
    return runs.make_run(small_spec(**changes), digits, CPU)


def trained(digits: CachedData, **changes: Any) -> tuple[Run, Kept]:
    run, reporter = make_run(digits, **changes), Kept()
    assert train(run, reporter, lambda: None) is None
    return run, reporter


def full_state(model: nn.Module) -> dict[str, Any]:
    """Everything that an evaluation must leave alone."""
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "modes": {name: module.training for name, module in model.named_modules()},
        "rng": torch.get_rng_state(),
        "numpy": repr(np.random.get_state()),
        "gradients": {name: parameter.grad is None for name, parameter in model.named_parameters()},
        "hooks": {name: len(module._forward_hooks) for name, module in model.named_modules()},
    }


def assert_same_state(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Bit-identical."""
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, dict):
            assert_same_state(value, other[key])
        elif isinstance(value, torch.Tensor):
            assert torch.equal(value, other[key]), key
        else:
            assert value == other[key], key
