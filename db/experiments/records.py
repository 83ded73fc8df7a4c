"""What a report is made of: an experiment's arms and the runs of their cells, read from the database at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from db.experiments.progress import Progress
from db.experiments.status import CellStatus
from db.frames import Floats
from db.spec.selection import Selection
from db.status import FailureCode

#: Of a metric: the steps at which it was measured, and its values.
Series = tuple[Sequence[int], Floats]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A value that a metric should reach."""

    metric: str
    value: float
    greater_is_better: bool


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One setting: all of a cell but its seed."""

    #: From 0, in the order of the declaration.
    number: int
    #: Of the resolved spec without its seed, in hex.
    arm_id: str
    name: str
    #: What was chosen on each dimension of the experiment: {"norm": {...}, "optimizer.lr": 0.1}; named arms have
    #: the dimension "arm".
    coordinates: Mapping[str, Any]
    #: The resolved spec without name, labels and seed.
    resolved: Mapping[str, Any]
    #: The others are compared with it.
    is_baseline: bool
    #: Where a search chose the setting: the number of the trial within its study.
    trial: int | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One cell, and its job as far as it is."""

    #: Number of its arm.
    arm: int
    cell_id: str
    seed: int
    #: None of a cell that has not begun, or whose job was deleted.
    job: str | None = None
    status: CellStatus = CellStatus.WAITING
    failure: FailureCode | None = None
    #: The job was made for another experiment, or by hand.
    is_reused: bool = False
    step: int = 0
    steps: int = 0
    #: {metric: {"value": ..., "step": ...}}; values that are not finite are the words NaN, Infinity, -Infinity.
    latest: Mapping[str, Any] = field(default_factory=dict)
    best: Mapping[str, Any] = field(default_factory=dict)
    #: That its attempts have taken, while no worker holds it any more.
    seconds: float | None = None
    samples_per_second: float | None = None
    #: Code and severity of each finding of the diagnosis at its end.
    findings: Sequence[tuple[str, str]] = ()
    #: At full resolution, by evaluation: of the metrics that were asked for.
    series: Mapping[str, Series] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Searching:
    """A search, whose trials are arms."""

    #: Of the searcher and of its sampler.
    name: str
    sampler: str
    #: Asked for, in all studies together.
    trials: int
    #: What it makes better.
    selection: Selection


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An experiment as a report sees it."""

    id: str
    name: str
    progress: Progress
    #: Why it is done and what to expect, of a preset.
    summary: Mapping[str, Any] | None
    arms: Sequence[Arm]
    runs: Sequence[Run]
    target: Target | None
    #: By which the best is chosen where there is no target; the target's own metric where there is one.
    selection: Selection
    search: Searching | None = None
