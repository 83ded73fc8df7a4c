"""What the runs of an arm have shown, as numbers to compare."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from api.report.statistics import Times
from db.experiments.records import Arm, Run, Subject, Target
from db.experiments.status import CellStatus
from db.spec.selection import Selection
from db.status import FailureCode


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """An arm and its runs."""

    arm: Arm
    #: By seed.
    runs: Sequence[Run]
    #: To the target; None without one, and before a run has begun.
    times: Times | None
    #: The final selection metric of each run that succeeded with a finite one, by seed.
    finals: dict[int, float]
    #: The median of it over all runs that ended, diverged ones as the worst; None where that is a diverged one.
    selection_median: float | None

    @property
    def learning_rate(self) -> float:
        """Of the optimizer."""
        return float(self.arm.resolved["optimizer"]["lr"])

    def rank(self, *, greater_is_better: bool) -> tuple[float, float]:
        """The less the better: the median of steps to the target, then that of the selection metric."""
        steps = math.inf if self.times is None else self.times.median()
        if self.selection_median is None:
            return steps, math.inf
        return steps, -self.selection_median if greater_is_better else self.selection_median

    @property
    def has_begun(self) -> bool:
        """Whether any of its runs has."""
        return any(map(has_begun, self.runs))

    @property
    def succeeded(self) -> list[Run]:
        """Those of which there are final numbers."""
        return [run for run in self.runs if run.status is CellStatus.SUCCEEDED]


def evidence(subject: Subject) -> list[Evidence]:
    """Of each arm, in their order."""
    runs: dict[int, list[Run]] = {arm.number: [] for arm in subject.arms}
    for run in sorted(subject.runs, key=lambda run: run.seed):
        runs[run.arm].append(run)
    return [_of(arm, runs[arm.number], subject.target, subject.selection) for arm in subject.arms]


def diverged(run: Run) -> bool:
    """Whether it ended because its loss was no longer finite."""
    return run.status is CellStatus.FAILED and run.failure is FailureCode.DIVERGED


def has_begun(run: Run) -> bool:
    """Whether it has trained: one that diverged has, even if that was before its first report."""
    return run.step > 0 or diverged(run)


def value(point: object) -> float | None:
    """The number in {"value": ..., "step": ...}, NaN and infinite ones too; None where there is no point."""
    return float(point["value"]) if isinstance(point, dict) else None


def _of(arm: Arm, runs: Sequence[Run], target: Target | None, selection: Selection) -> Evidence:
    last = {
        run.seed: value(run.latest.get(selection.metric)) for run in runs if run.status is CellStatus.SUCCEEDED
    }
    return Evidence(
        arm=arm,
        runs=runs,
        times=_times(runs, target) if target else None,
        finals={seed: final for seed, final in last.items() if final is not None and math.isfinite(final)},
        selection_median=ended_median(runs, selection),
    )


def _times(runs: Sequence[Run], target: Target) -> Times | None:
    begun = [run for run in runs if has_begun(run)]
    if not begun:
        return None
    reached = [_first_as_good(run, target) for run in begun]
    at_first = [at is not None and _is_first(run, target, at) for run, at in zip(begun, reached, strict=True)]
    return Times(
        seeds=tuple(run.seed for run in begun),
        steps=np.array(
            [_watched(run) if at is None else at for run, at in zip(begun, reached, strict=True)], float
        ),
        reached=np.array([at is not None for at in reached]),
        at_first=np.array(at_first),
    )


def _first_as_good(run: Run, target: Target) -> int | None:
    """The first step at which the metric was as good as the target."""
    steps, values = run.series.get(target.metric, ((), np.empty(0)))
    good = values >= target.value if target.greater_is_better else values <= target.value
    return int(steps[int(np.argmax(good))]) if good.any() else None


def _is_first(run: Run, target: Target, at: int) -> bool:
    """Whether no evaluation of the training so far was before."""
    steps, _ = run.series[target.metric]
    return 0 < at == next(step for step in steps if step > 0)


def _watched(run: Run) -> int:
    """Up to which step it is known that it did not reach the target: a run that diverged never would."""
    return max(run.step, run.steps) if diverged(run) else run.step


def ended_median(runs: Sequence[Run], selection: Selection) -> float | None:
    """Of the final metric over all runs that ended, diverged ones as the worst; None where it is one of those."""
    worst = -math.inf if selection.greater_is_better else math.inf
    finals = [worst for run in runs if diverged(run)]
    for run in runs:
        final = value(run.latest.get(selection.metric)) if run.status is CellStatus.SUCCEEDED else None
        if final is not None:
            finals.append(final if math.isfinite(final) else worst)
    if not finals:
        return None
    # Of an even number the worse one of the middle two: their mean would be infinite with one that diverged.
    middle = sorted(finals, reverse=selection.greater_is_better)[len(finals) // 2]
    return middle if math.isfinite(middle) else None
