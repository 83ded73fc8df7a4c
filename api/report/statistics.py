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


def percentile(ordered: Floats, share: float) -> float:
    """Of values in order, interpolated linearly.

    numpy's is slower on a few values, and has NaN between two infinite ones.
    """
    place = share * (len(ordered) - 1)
    below = int(place)
    near, far = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    return near if near == far or place == below else near + (place - below) * (far - near)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval; a limit that is not known is infinite, or 0 of what is positive."""

    low: float
    high: float


def median_interval(values: Floats) -> Interval | None:
    """Of the median of values (n); None for fewer than two."""
    if len(values) < 2:
        return None
    (below, above), counts = _middles(len(values))
    ordered = np.sort(values)
    return _interval(np.repeat((ordered[below] + ordered[above]) / 2, counts))


@lru_cache(maxsize=8)
def _middles(size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ranks of the middle two values of resamples (2, kinds), and how many resamples have those (kinds).

    They are the same for all data of a size: a tenth of the time of a median of each resample.
    """
    (rows,) = draws(size)
    ranks = np.sort(rows, axis=1)[:, [(size - 1) // 2, size // 2]]
    kinds, counts = np.unique(ranks, axis=0, return_counts=True)
    return kinds.T, counts


def difference_interval(these: Floats, those: Floats) -> Interval | None:
    """Of the difference of the medians of two unpaired samples; None for fewer than two values in one of them."""
    if min(len(these), len(those)) < 2:
        return None
    first, second = draws(len(these), len(those))
    return _interval(np.median(these[first], axis=1) - np.median(those[second], axis=1))


@dataclass(frozen=True, kw_only=True)
class Times:
    """Steps at which runs reached a target, or, of those that did not, up to which they were watched.

    A run that did not reach it is right-censored: it is known to take longer than that. One that was there at its
    first evaluation is left-censored: it may have been there at any step before. steps, reached, at_first: (n).
    """

    seeds: tuple[int, ...]
    steps: Floats
    reached: NDArray[np.bool_]
    at_first: NDArray[np.bool_]

    @property
    def earliest(self) -> Floats:
        """The steps if all that were there at their first evaluation had been there at once."""
        return np.where(self.at_first, 0.0, self.steps)

    def median(self) -> float:
        """Kaplan-Meier median; infinite if fewer than half of the runs reached the target."""
        return float(kaplan_meier_median(self.steps, self.reached))

    @property
    def is_median_at_first(self) -> bool:
        """Whether the median is no more than an upper bound: it rests on runs that were there at first."""
        return float(kaplan_meier_median(self.earliest, self.reached)) < self.median()

    def median_at_least(self) -> float:
        """What the median can not be below, whatever the censored runs did before or would still have done."""
        return float(np.sort(self.earliest)[(len(self.steps) - 1) // 2])

    def interval(self) -> Interval | None:
        """Of the median; None for fewer than two runs."""
        if len(self.steps) < 2:
            return None
        (rows,) = draws(len(self.steps))
        earliest, latest = self.medians(rows)
        return Interval(low=_interval(earliest).low, high=_interval(latest).high)

    def medians(self, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Of resamples (resamples, n) the least that each median may be, and the greatest."""
        reached = self.reached[rows]
        latest = kaplan_meier_median(self.steps[rows], reached)
        return kaplan_meier_median(self.earliest[rows], reached) if self.at_first.any() else latest, latest


def kaplan_meier_median(steps: Floats, reached: NDArray[np.bool_]) -> Floats:
    """The first step by which the estimate of those that have not reached the target is no more than a half.

    steps, reached: (..., n) with n >= 1; the answer is (...), infinite where that is never so.
    """
    # Steps are whole numbers, so that even keys can be those that reached it. At the same step a censored run was
    # still watched when the others got there: it comes after them.
    keys = np.sort(2 * steps + ~reached, axis=-1)
    steps, reached = keys // 2, keys % 2 == 0
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
    (least_above, most_above), (least_below, most_below) = top.medians(first), bottom.medians(second)
    with np.errstate(divide="ignore", invalid="ignore"):
        least, most = least_above / most_below, most_above / least_below
    # Where neither median is reached, the ratio may be anything.
    low, high = np.where(np.isnan(least), 0.0, least), np.where(np.isnan(most), np.inf, most)
    return Interval(low=_interval(low).low, high=_interval(high).high)


def are_paired(these: Sequence[int], those: Sequence[int]) -> bool:
    """Whether two samples are of the same seeds, in the same order."""
    return tuple(these) == tuple(those)


def _interval(estimates: Floats) -> Interval:
    """Percentiles of the estimates (resamples), of which some may be infinite."""
    ordered = np.sort(estimates)
    low, high = (percentile(ordered, tail) for tail in TAILS)
    return Interval(low=low, high=high)
