"""Medians over seeds, their bootstrap intervals, and times to a target of which some are not known.

Bootstrap: percentile intervals (Efron & Tibshirani 1993, chapter 13), from a generator with a fixed seed: the same
data give the same interval. Times: the product-limit estimate of Kaplan & Meier 1958.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
#: Tails of an interval.
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
RESAMPLES = 2000
#: Drawn numbers of one sample: of thousands of seeds there are fewer resamples, so that they fit into memory.
MAX_DRAWS = 4_000_000


@lru_cache(maxsize=8)
def draws(*sizes: int) -> tuple[NDArray[np.int64], ...]:
    """Which of its values each resample of each sample has: (resamples, size) for each of `sizes`."""
    generator = np.random.default_rng(0)
    resamples = max(1, min(RESAMPLES, MAX_DRAWS // max(sizes)))
    return tuple(generator.integers(0, size, (resamples, size)) for size in sizes)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval; a limit that is not known is infinite, or 0 of a ratio."""

    low: float
    high: float


def median_interval(values: Floats) -> Interval | None:
    """Of the median of values (n); None for fewer than two."""
    if len(values) < 2:
        return None
    (rows,) = draws(len(values))
    return _interval(np.median(values[rows], axis=1))


def difference_interval(these: Floats, those: Floats) -> Interval | None:
    """Of the difference of the medians of two unpaired samples; None for fewer than two values in one of them."""
    if min(len(these), len(those)) < 2:
        return None
    first, second = draws(len(these), len(those))
    return _interval(np.median(these[first], axis=1) - np.median(those[second], axis=1))


@dataclass(frozen=True, kw_only=True)
class Times:
    """Steps at which runs reached a target, or, of those that did not, up to which they were watched.

    A run that did not reach it is right-censored: it is known to take longer than that. steps, reached: (n).
    """

    seeds: tuple[int, ...]
    steps: Floats
    reached: NDArray[np.bool_]

    def median(self) -> float:
        """Kaplan-Meier median; infinite if fewer than half of the runs reached the target."""
        return float(kaplan_meier_median(self.steps, self.reached))

    def median_at_least(self) -> float:
        """What the median can not be below, whatever the censored runs would still have done."""
        return float(np.sort(self.steps)[(len(self.steps) - 1) // 2])

    def interval(self) -> Interval | None:
        """Of the median; None for fewer than two runs."""
        if len(self.steps) < 2:
            return None
        (rows,) = draws(len(self.steps))
        return _interval(kaplan_meier_median(self.steps[rows], self.reached[rows]))


def kaplan_meier_median(steps: Floats, reached: NDArray[np.bool_]) -> Floats:
    """The first step by which the estimate of those that have not reached the target is no more than a half.

    steps, reached: (..., n) with n >= 1; the answer is (...), infinite where that is never so.
    """
    # At the same step a censored run was still watched when the others reached the target: it comes after them.
    order = np.lexsort((~reached, steps), axis=-1)
    steps, reached = np.take_along_axis(steps, order, -1), np.take_along_axis(reached, order, -1)
    at_risk = np.arange(steps.shape[-1], 0, -1)
    # With a margin: products of fractions do not come to exactly a half.
    halved = np.cumprod(1 - reached / at_risk, axis=-1) <= 0.5 + 1e-9
    first = np.take_along_axis(steps, np.argmax(halved, axis=-1)[..., None], -1)[..., 0]
    return np.where(halved.any(axis=-1), first, np.inf)


def ratio_interval(top: Times, bottom: Times) -> Interval | None:
    """Of the ratio of two medians, paired where both have the same seeds; None for fewer than two runs in one."""
    if min(len(top.steps), len(bottom.steps)) < 2:
        return None
    if are_paired(top.seeds, bottom.seeds):
        (first,) = draws(len(top.steps))
        second = first
    else:
        first, second = draws(len(top.steps), len(bottom.steps))
    above = kaplan_meier_median(top.steps[first], top.reached[first])
    below = kaplan_meier_median(bottom.steps[second], bottom.reached[second])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = above / below
    # Where neither median is reached, the ratio may be anything.
    unknown = np.isnan(ratios)
    low = _interval(np.where(unknown, 0.0, ratios)).low
    return Interval(low=low, high=_interval(np.where(unknown, np.inf, ratios)).high)


def are_paired(these: Sequence[int], those: Sequence[int]) -> bool:
    """Whether two samples are of the same seeds, in the same order."""
    return tuple(these) == tuple(those)


def _interval(estimates: Floats) -> Interval:
    """Percentiles of the estimates (resamples), of which some may be infinite."""
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(estimates, TAILS)
    # Between two infinite ones numpy interpolates to NaN.
    return Interval(low=float(np.nan_to_num(low, nan=np.inf)), high=float(np.nan_to_num(high, nan=np.inf)))
