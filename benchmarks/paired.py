"""Paired comparison: every block of a candidate stands between two blocks of the base.

A shared machine speeds up and slows down by more than what is to be measured. Neighbouring blocks see nearly the
same machine, so their ratio is steadier than either; how steady it is, the base against itself tells.
"""

import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Seed of the orders of the rounds.
ORDER_SEED = 0
#: Resamples of a bootstrap interval, and their seed.
RESAMPLES, RESAMPLING_SEED = 10_000, 0


@dataclass(kw_only=True)
class Timing:
    """What a block took: seconds on the clock, and seconds of CPU over all threads of the process."""

    steps: int
    wall_s: float = 0.0
    cpu_s: float = 0.0

    def start(self) -> None:
        """What comes from here on counts."""
        gc.collect()  # garbage of what came before is not ours
        self.wall_s, self.cpu_s = -time.perf_counter(), -time.process_time()

    def stop(self) -> None:
        """What comes from here on does not count."""
        self.wall_s += time.perf_counter()
        self.cpu_s += time.process_time()

    def steps_per_second(self, clock: str) -> float:
        """The rate by `wall_s` or `cpu_s`."""
        return self.steps / float(getattr(self, clock))


#: Takes `steps` training steps and returns what they took, without what comes before and after them.
Block = Callable[[int], Timing]


@contextmanager
def stopwatch(steps: int) -> Iterator[Timing]:
    """Time the body."""
    timing = Timing(steps=steps)
    timing.start()
    yield timing
    timing.stop()


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What is compared with the base. A slow one may take only a `share` of the steps of a block."""

    name: str
    block: Block
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A block of a candidate, and the blocks of the base before and after it."""

    candidate: Timing
    before: Timing
    after: Timing

    def ratio(self, clock: str) -> float:
        """Steps per second of the candidate over the mean of the base's."""
        base = (self.before.steps_per_second(clock) + self.after.steps_per_second(clock)) / 2
        return self.candidate.steps_per_second(clock) / base


def alternate(base: Block, candidates: Sequence[Candidate], blocks: int, steps: int) -> Iterator[tuple[str, Pair]]:
    """Base, candidate, base, another candidate, base and so on, `blocks` times; a short round warms up.

    Each round has its own order, so that no candidate always follows the same one.
    """
    for candidate in candidates:
        base(steps // 10)
        candidate.block(max(1, steps // 10))
    before = base(steps)
    orders = random.Random(ORDER_SEED)
    for _ in range(blocks):
        for candidate in orders.sample(candidates, len(candidates)):
            timing = candidate.block(max(1, int(steps * candidate.share)))
            after = base(steps)
            yield candidate.name, Pair(candidate=timing, before=before, after=after)
            before = after


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Some ratios in short: median, its bootstrap interval of 95 %, quartiles and extremes."""

    median: float
    interval: tuple[float, float]
    quartiles: tuple[float, float]
    extremes: tuple[float, float]

    @staticmethod
    def of(ratios: Sequence[float]) -> "Spread":
        """The spread of some ratios."""
        values = np.array(ratios)
        picks = np.random.default_rng(RESAMPLING_SEED).integers(len(values), size=(RESAMPLES, len(values)))
        medians = np.median(values[picks], axis=1)
        return Spread(
            median=float(np.median(values)),
            interval=_percentiles(medians, 2.5, 97.5),
            quartiles=_percentiles(values, 25, 75),
            extremes=(float(values.min()), float(values.max())),
        )


def _percentiles(values: NDArray[np.float64], low: float, high: float) -> tuple[float, float]:
    lower, upper = np.percentile(values, [low, high])
    return float(lower), float(upper)


def verdict(candidate: Spread, noise: Spread, target: float) -> str:
    """Whether the candidate reaches `target`; none where the base differs from itself by more than is claimed."""
    claim = abs(1 - target)
    low, high = candidate.interval
    if max(abs(bound - 1) for bound in noise.interval) > claim:
        return f"no verdict: the base differs from itself by more than {claim:.2f}"
    if low >= target:
        return "reached"
    return "missed" if high < target else "undecided: the interval holds the target"
