"""How many times fewer steps to the target than the baseline: at the same learning rate, and each at its best.

Two comparisons that are often taken for each other: at one learning rate a norm may save much that a learning rate
of its own gives the baseline too.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from api.report.arms import interval_out
from api.report.evidence import Evidence
from api.report.places import Places
from api.report.schemas import Comparison, Difference, SpeedUp
from api.report.statistics import Times, are_paired, difference_interval, median_interval, ratio_interval
from db.experiments.records import Subject


def speed_ups(subject: Subject, arms: Sequence[Evidence]) -> list[SpeedUp]:
    """Of each arm, in their order."""
    places = Places(arms)
    best = {
        arm.arm.number: compared
        for family in places.families
        for compared in [_at_best_rates(subject, places, family)]
        for arm in family
    }
    return [SpeedUp(equal_lr=_at_equal_rate(subject, places, arm), best_lr=best[arm.arm.number]) for arm in arms]


def _at_equal_rate(subject: Subject, places: Places, arm: Evidence) -> Comparison:
    if arm.arm.is_baseline:
        return _nothing("this is the baseline")
    baselines = [each for each in places.baselines(arm) if each.learning_rate == arm.learning_rate]
    if not baselines:
        alike = f" and the same {', '.join(places.free)}" if places.free else ""
        return _nothing(f"no baseline arm has the learning rate {arm.learning_rate:.4g}{alike}")
    return _compared(subject, [arm], baselines[:1])


def _at_best_rates(subject: Subject, places: Places, family: Sequence[Evidence]) -> Comparison:
    baselines = places.baselines(family[0])
    if not baselines:
        alike = f" with the same {', '.join(places.free)}" if places.free else ""
        return _nothing(f"there is no baseline arm{alike}")
    # All learning rates of the baseline count, also those that the declaration did not call a baseline.
    theirs = places.family(baselines[0])
    if family is theirs:
        return _nothing("it differs from the baseline in the learning rate alone")
    return _compared(subject, family, theirs)


def _best(subject: Subject, family: Sequence[Evidence]) -> Evidence:
    """The arm with the fewest median steps to the target, or with the best median where none reaches it."""
    return min(family, key=lambda arm: arm.rank(greater_is_better=subject.selection.greater_is_better))


def _nothing(reason: str) -> Comparison:
    return Comparison(
        arm=None,
        learning_rate=None,
        tried=None,
        baseline=None,
        baseline_learning_rate=None,
        baseline_tried=None,
        ratio=None,
        at_least=None,
        at_most=None,
        ci=None,
        paired=False,
        difference=None,
        reason=reason,
    )


def _compared(subject: Subject, family: Sequence[Evidence], baselines: Sequence[Evidence]) -> Comparison:
    ours, theirs = ([arm for arm in side if arm.has_begun] for side in (family, baselines))
    if not ours or not theirs:
        return _nothing(f"no run of {'the baseline' if ours else 'this arm'} has begun")
    arm, baseline = _best(subject, ours), _best(subject, theirs)
    sides = {
        "arm": arm.arm.number,
        "learning_rate": arm.learning_rate,
        "tried": len({each.learning_rate for each in ours}),
        "baseline": baseline.arm.number,
        "baseline_learning_rate": baseline.learning_rate,
        "baseline_tried": len({each.learning_rate for each in theirs}),
        "difference": _difference(subject, arm, baseline),
    }
    return _nothing("").model_copy(update=sides | _ratio(arm, baseline))


def _ratio(arm: Evidence, baseline: Evidence) -> dict[str, Any]:
    """The fields of the ratio of steps, or its bound and why there is no more."""
    ours, theirs = arm.times, baseline.times
    if ours is None or theirs is None:
        return {"reason": "no target was declared"}
    above, below = theirs.median(), ours.median()
    if below == 0:
        return {"reason": "the target is reached before the first step"}
    if math.isinf(above) and math.isinf(below):
        return {"reason": "neither side reached the target"}
    if math.isinf(above):
        return {"at_least": theirs.median_at_least() / below, "reason": "the baseline did not reach the target"}
    if math.isinf(below):
        return {"at_most": above / ours.median_at_least(), "reason": "this side did not reach the target"}
    if theirs.is_median_at_first or ours.is_median_at_first:
        return _ratio_at_first(theirs, ours)
    interval = interval_out(ratio_interval(theirs, ours), is_positive=True)
    return {
        "ratio": above / below,
        "ci": interval,
        "paired": interval is not None and are_paired(theirs.seeds, ours.seeds),
        "reason": None,
    }


def _ratio_at_first(theirs: Times, ours: Times) -> dict[str, Any]:
    """The bound that is left where a median may have been reached at any step before its first evaluation."""
    ratio, sooner = theirs.median() / ours.median(), "evaluate more often to know"
    if theirs.is_median_at_first and ours.is_median_at_first:
        return {"reason": f"both sides were there at their first evaluation: {sooner}"}
    if theirs.is_median_at_first:
        return {"at_most": ratio, "reason": f"the baseline was there at its first evaluation: {sooner}"}
    return {"at_least": ratio, "reason": f"this side was there at its first evaluation: {sooner}"}


def _difference(subject: Subject, arm: Evidence, baseline: Evidence) -> Difference | None:
    ours, theirs = arm.finals, baseline.finals
    if not ours or not theirs:
        return None
    seeds = sorted(ours.keys() & theirs.keys())
    if seeds:
        by_seed = np.array([ours[seed] - theirs[seed] for seed in seeds])
        median, interval = float(np.median(by_seed)), median_interval(by_seed)
    else:
        these, those = np.array(list(ours.values())), np.array(list(theirs.values()))
        median, interval = float(np.median(these) - np.median(those)), difference_interval(these, those)
    return Difference(
        metric=subject.selection.metric,
        median=median,
        ci=interval_out(interval),
        n=len(seeds) or min(len(ours), len(theirs)),
        paired=bool(seeds),
    )
