"""What the runs of one arm came to, over its seeds."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from api.report import statistics
from api.report.evidence import Evidence, diverged, value
from api.report.schemas import (
    ArmOut,
    Divergence,
    FindingCount,
    IntervalOut,
    SpeedUp,
    Spread,
    StepsToTarget,
)
from api.report.statistics import Interval, Times
from db.experiments.records import Run
from db.experiments.status import CellStatus
from db.spec.lints.base import Severity
from models.catalog.registry import norms

#: What is told of the end of a run: all that an evaluation measures.
MEASURED = ("validation/", "test/", "gap/", "ema/")


def arm_out(evidence: Evidence, config: Mapping[str, Any], speed_up: SpeedUp) -> ArmOut:
    """The arm with all that is told of it."""
    arm, runs, ended = evidence.arm, evidence.runs, evidence.succeeded
    return ArmOut(
        number=arm.number,
        arm_id=arm.arm_id,
        name=arm.name,
        trial=arm.trial,
        is_baseline=arm.is_baseline,
        coordinates=dict(arm.coordinates),
        config=dict(config),
        cells=Counter(run.status for run in runs),
        reused=sum(run.is_reused for run in runs),
        final=_metrics(run.latest for run in ended),
        best=_metrics(run.best for run in ended),
        selection_median=evidence.selection_median,
        steps_to_target=_steps_to_target(evidence),
        divergence=_divergence(runs),
        train_eval_gap=_gap(evidence, "gap/train_mode/"),
        precise_gap=_gap(evidence, "gap/precise/"),
        findings=_findings(runs),
        seconds=spread(run.seconds for run in ended),
        samples_per_second=spread(run.samples_per_second for run in ended),
        speed_up=speed_up,
    )


def spread(values: Iterable[float | None]) -> Spread | None:
    """Of the finite values; None where there is none."""
    known = np.array([each for each in values if each is not None], float)
    finite = np.sort(known[np.isfinite(known)])
    if not len(finite):
        return None
    q25, median, q75 = (statistics.percentile(finite, share) for share in (0.25, 0.5, 0.75))
    return Spread(
        n=len(finite),
        not_finite=len(known) - len(finite),
        median=median,
        q25=q25,
        q75=q75,
        min=float(finite[0]),
        max=float(finite[-1]),
        ci=interval_out(statistics.median_interval(finite)),
    )


def interval_out(interval: Interval | None, *, is_positive: bool = False) -> IntervalOut | None:
    """An interval whose unknown limits are null: infinite ones, and the 0 of steps and of their ratios."""
    if interval is None:
        return None
    low_is_known = np.isfinite(interval.low) and not (is_positive and interval.low == 0)
    return IntervalOut(
        low=interval.low if low_is_known else None, high=interval.high if np.isfinite(interval.high) else None
    )


def _metrics(points: Iterable[Mapping[str, Any]]) -> dict[str, Spread]:
    """By metric, over runs of which each has its points."""
    known = list(points)
    names = sorted({name for each in known for name in each if name.startswith(MEASURED)})
    return _spreads(names, lambda name: [value(each.get(name)) for each in known])


def _spreads(names: Iterable[str], values: Callable[[str], Iterable[float | None]]) -> dict[str, Spread]:
    found = {name: spread(values(name)) for name in names}
    return {name: each for name, each in found.items() if each is not None}


def _gap(evidence: Evidence, mode: str) -> dict[str, Spread]:
    """By measure: what it is in one mode, less what it is with running statistics.

    Of a norm that does not use the batch there is none: all modes are one, and the 0 between them is no result.
    """
    norm = norms().get(evidence.arm.resolved["norm"]["name"])
    if norm is not None and not norm.uses_batch:
        return {}
    runs = evidence.succeeded
    measures = {name.removeprefix(mode) for run in runs for name in run.latest if name.startswith(mode)}
    return _spreads(sorted(measures), lambda measure: [_less(run, mode + measure, measure) for run in runs])


def _less(run: Run, metric: str, measure: str) -> float | None:
    there, here = value(run.latest.get(metric)), value(run.latest.get(f"gap/eval_mode/{measure}"))
    # The difference of two infinite losses is no number; spread() counts it among those that are not finite.
    return None if there is None or here is None else there - here


def _steps_to_target(evidence: Evidence) -> StepsToTarget | None:
    times = evidence.times
    if times is None:
        return None
    median = times.median()
    is_reached = bool(np.isfinite(median))
    return StepsToTarget(
        n=len(times.steps),
        reached=int(times.reached.sum()),
        censored=int((~times.reached).sum()),
        diverged=_diverged_before(evidence.runs, times),
        at_first=int(times.at_first.sum()),
        median=median if is_reached else None,
        median_at_first=times.is_median_at_first,
        at_least=None if is_reached else times.median_at_least(),
        ci=interval_out(times.interval(), is_positive=True) if is_reached else None,
    )


def _diverged_before(runs: Sequence[Run], times: Times) -> int:
    """Runs that diverged and had not reached the target before."""
    reached = dict(zip(times.seeds, times.reached, strict=True))
    return sum(diverged(run) and not reached.get(run.seed, True) for run in runs)


def _divergence(runs: Sequence[Run]) -> Divergence:
    count = sum(map(diverged, runs))
    ended = count + sum(run.status is CellStatus.SUCCEEDED for run in runs)
    return Divergence(count=count, ended=ended, rate=count / ended if ended else None)


def _findings(runs: Sequence[Run]) -> list[FindingCount]:
    severities: dict[str, list[Severity]] = {}
    for run in runs:
        worst: dict[str, Severity] = {}
        for code, word in run.findings:
            worst[code] = max(worst.get(code, Severity(word)), Severity(word), key=lambda each: each.rank)
        for code, severity in worst.items():
            severities.setdefault(code, []).append(severity)
    counts = [
        FindingCount(code=code, severity=max(found, key=lambda each: each.rank), runs=len(found))
        for code, found in severities.items()
    ]
    return sorted(counts, key=lambda count: (-count.severity.rank, -count.runs, count.code))
