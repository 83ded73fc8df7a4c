"""The report's own statistics against scipy's, on made-up data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from api.report import arms
from api.report.statistics import (
    RESAMPLES,
    Times,
    difference_interval,
    draws,
    kaplan_meier_median,
    median_interval,
    ratio_interval,
)

TIES = np.array([3.0, 1, 1, 4, 4, 4, 9, 2, 6, 6, 5])


def make_times(steps, reached=None, seeds=None, at_first=None):
    reached = np.ones(len(steps), bool) if reached is None else np.array(reached, bool)
    return Times(
        seeds=tuple(seeds or range(len(steps))),
        steps=np.array(steps, float),
        reached=reached,
        at_first=np.zeros(len(steps), bool) if at_first is None else np.array(at_first, bool),
    )


def bootstrap(samples, statistic, paired=False):
    """scipy's, from the same draws."""
    options = {"method": "percentile", "n_resamples": RESAMPLES, "rng": np.random.default_rng(0)}
    return stats.bootstrap(samples, statistic, paired=paired, vectorized=True, **options).confidence_interval


@pytest.mark.parametrize("values", [TIES, TIES[:2], TIES[:4], np.array([7.0, 7, 7])], ids=len)
def test_spread_is_that_of_scipy_and_numpy(values):
    spread = arms.spread(values.tolist())
    assert (spread.n, spread.median) == (len(values), np.median(values))
    assert spread.q75 - spread.q25 == pytest.approx(stats.iqr(values))
    assert (spread.q25, spread.min, spread.max) == (np.percentile(values, 25), values.min(), values.max())
    assert (spread.ci.low, spread.ci.high) == pytest.approx(tuple(bootstrap((values,), np.median)))


def test_one_seed_has_no_interval():
    spread = arms.spread([0.5])
    assert (spread.n, spread.median, spread.q25, spread.q75, spread.ci) == (1, 0.5, 0.5, 0.5, None)
    assert make_times([5]).interval() is None
    assert ratio_interval(make_times([5, 6]), make_times([5])) is None
    assert difference_interval(np.array([1.0]), TIES) is None


def test_numbers_that_are_not_finite_are_counted_and_left_out():
    spread = arms.spread([1.0, float("nan"), float("inf"), None, 3.0])
    assert (spread.n, spread.not_finite, spread.median) == (2, 2, 2.0)
    assert arms.spread([float("nan"), None]) is None


def test_difference_of_unpaired_medians():
    these, those = TIES, TIES[:5] * 2
    expected = bootstrap((these, those), lambda a, b, axis: np.median(a, axis) - np.median(b, axis))
    found = difference_interval(these, those)
    assert (found.low, found.high) == pytest.approx(tuple(expected))


# An odd number of runs that all reached the target: Kaplan and Meier's median is the usual one.
@pytest.mark.parametrize(("bottom", "paired"), [([2, 2, 5, 1, 7, 3, 3, 8, 4, 4, 4], True), ([2, 2, 5], False)])
def test_ratio_of_medians(bottom, paired):
    samples = TIES, np.array(bottom, float)
    expected = bootstrap(samples, lambda a, b, axis=-1: np.median(a, axis) / np.median(b, axis), paired)
    found = ratio_interval(make_times(TIES), make_times(bottom))
    assert (found.low, found.high) == pytest.approx(tuple(expected))


def test_pairing_takes_out_what_the_seeds_share():
    top = make_times([100, 200, 300, 400, 500])
    bottom = make_times([50, 100, 150, 200, 250])
    assert (ratio_interval(top, bottom).low, ratio_interval(top, bottom).high) == (2, 2)
    strangers = make_times(bottom.steps, seeds=range(5, 10))
    assert ratio_interval(top, strangers).low < 1.5 < 2.5 < ratio_interval(top, strangers).high


def test_a_ratio_of_medians_that_are_often_not_reached_has_no_limits():
    # In 7 of 27 resamples neither median is reached: the ratio may be anything.
    top, bottom = (make_times([steps, steps, 1000], [True, True, False]) for steps in (200, 100))
    found = ratio_interval(top, bottom)
    assert (found.low, found.high) == (0, np.inf)
    shown = arms.interval_out(found, is_positive=True)
    assert (shown.low, shown.high) == (None, None)


def scipy_median(steps, reached):
    """Of scipy's product-limit estimate: the first step at which no more than a half survive."""
    data = stats.CensoredData(
        uncensored=[s for s, r in zip(steps, reached, strict=True) if r],
        right=[s for s, r in zip(steps, reached, strict=True) if not r],
    )
    survival = stats.ecdf(data).sf
    below = survival.quantiles[survival.probabilities <= 0.5 + 1e-9]
    return below[0] if len(below) else np.inf


@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=12))
def test_kaplan_meier_with_ties_and_censoring(runs):
    steps, reached = np.array([float(s) for s, _ in runs]), np.array([r for _, r in runs])
    assert kaplan_meier_median(steps, reached) == scipy_median(steps, reached)


def test_kaplan_meier_of_many_at_once_is_that_of_each():
    generator = np.random.default_rng(1)
    steps, reached = generator.integers(1, 5, (50, 7)).astype(float), generator.random((50, 7)) < 0.7
    together = kaplan_meier_median(steps, reached)
    assert together.tolist() == [scipy_median(s, r) for s, r in zip(steps, reached, strict=True)]


def test_interval_of_a_censored_median_is_the_bootstrap_of_scipys_estimate():
    times = make_times([100, 200, 200, 300, 1000], [True, True, True, True, False])
    (rows,) = draws(5)
    medians = [scipy_median(times.steps[row], times.reached[row]) for row in rows[:400]]
    assert kaplan_meier_median(times.steps[rows[:400]], times.reached[rows[:400]]).tolist() == medians
    found = times.interval()
    # The censored run is more than half of one resample in 17: the upper limit is not known.
    assert (found.low, found.high) == (100, np.inf)


def test_a_median_that_is_not_reached_has_a_lower_bound():
    times = make_times([100, 1000, 1000], [True, False, False])
    assert (times.median(), times.median_at_least()) == (np.inf, 1000)
    # Two that were stopped early may yet be quick; that bound holds whatever they would have done.
    assert make_times([50, 60, 1000], [False] * 3).median_at_least() == 60


def test_what_was_there_at_first_bounds_a_median_that_rests_on_it():
    assert not make_times([50, 100, 200], at_first=[True, False, False]).is_median_at_first
    assert make_times([50, 50, 200], at_first=[True, True, False]).is_median_at_first
    assert not make_times([50, 100, 100], [True, False, False], at_first=[True, False, False]).is_median_at_first
    # Watched for less than an evaluation, two others may still be sooner than the one that was there.
    reached = [False, False, True, False, False]
    early = make_times([10, 20, 50, 90, 90], reached, at_first=reached)
    assert (early.median(), early.median_at_least()) == (np.inf, 20)


def test_an_interval_has_no_lower_limit_where_runs_were_there_at_first():
    steps, at_first = [50, 50, 100, 150, 200], [True, True, False, False, False]
    (rows,) = draws(5)
    at_once = np.where(at_first, 0, steps)[rows]
    found = make_times(steps, at_first=at_first).interval()
    expected = np.percentile(np.median(at_once, 1), 2.5), np.percentile(np.median(np.array(steps)[rows], 1), 97.5)
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.low == 0
    shown = arms.interval_out(found, is_positive=True)
    assert (shown.low, shown.high) == (None, found.high)


def test_a_ratio_is_open_on_the_side_that_was_there_at_first():
    first, later = (make_times([100, 150, 200], at_first=flags) for flags in ([True, False, False], None))
    known = ratio_interval(later, later)
    assert (known.low, known.high) == (1, 1)
    above, below = ratio_interval(first, later), ratio_interval(later, first)
    assert (above.low, above.high) == (0, 1)
    assert (below.low, below.high) == (1, np.inf)


def test_intervals_are_the_same_every_time():
    again = [median_interval(TIES) for _ in range(2)]
    draws.cache_clear()
    assert again[0] == again[1] == median_interval(TIES)


def test_thousands_of_seeds_fit():
    values = np.arange(10_001.0)
    found = median_interval(values)
    assert 4800 < found.low < 5000 < found.high < 5200
    assert draws(10_001)[0].size <= 4_000_000
