"""Paired comparison: a candidate and the base train in turns, a few steps each, in one process.

A shared machine speeds up and slows down by more than what is to be measured, within seconds. Turns of some
hundredths of a second see the same machine, so the ratio of two blocks made of them is steady; how steady it is,
the base against itself tells.
"""

import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

#: Steps of a turn: long against the switch, short against the machine's moods.
TURN_STEPS = 50
#: Seed of the orders of the rounds.
ORDER_SEED = 0
#: Resamples of a bootstrap interval, and their seed.
RESAMPLES, RESAMPLING_SEED = 10_000, 0

#: Trains so many steps more.
Base = Callable[[int], None]


@dataclass(kw_only=True)
class Timing:
    """What some steps took: seconds on the clock, and seconds of CPU."""

    wall_s: float = 0.0
    cpu_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same number of steps of a candidate and of the base."""

    steps: int
    candidate: Timing
    base: Timing

    def ratio(self, clock: str) -> float:
        """Steps per second of the candidate over the base's, by `wall_s` or `cpu_s`."""
        return float(getattr(self.base, clock) / getattr(self.candidate, clock))


class Turns:
    """A block of a candidate. It calls this once for each of its steps, in a `with` around what is timed.

    The candidate is charged with all that the process does meanwhile, on any thread, but for the base's turns.
    """

    def __init__(
        self, base: Base, base_settings: Callable[[], AbstractContextManager[None]], turn_steps: int = TURN_STEPS
    ) -> None:
        self._base = base
        self._base_settings = base_settings
        self._turn_steps = turn_steps
        self._base_timing = Timing()
        self._taken = 0

    def __enter__(self) -> Self:
        gc.collect()  # garbage of what came before is not ours
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        base = self._base_timing
        self._candidate_timing = Timing(
            wall_s=time.perf_counter() - self._wall - base.wall_s,
            cpu_s=time.process_time() - self._cpu - base.cpu_s,
        )

    def __call__(self) -> None:
        """A step of the candidate has been taken."""
        self._taken += 1
        if self._taken % self._turn_steps == 0:
            with self._base_settings():
                wall, cpu = time.perf_counter(), time.thread_time()
                self._base(self._turn_steps)
                self._base_timing.cpu_s += time.thread_time() - cpu
                self._base_timing.wall_s += time.perf_counter() - wall

    def pair(self) -> Pair:
        """What the block took."""
        return Pair(steps=self._taken, candidate=self._candidate_timing, base=self._base_timing)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What is compared with the base. A slow one may take only a `share` of the steps of a block.

    `block` takes so many steps of a new training; its turns are given to it.
    """

    name: str
    block: Callable[[int, Turns], None]
    share: float = 1.0


def compare(
    candidates: Sequence[Candidate],
    turns: Callable[[], Turns],
    blocks: int,
    steps: int,
    turn_steps: int = TURN_STEPS,
) -> Iterator[tuple[str, Pair]]:
    """`blocks` rounds of all candidates, after a short one that warms up; each round has its own order.

    `steps` of a block are whole turns.
    """
    for candidate in candidates:
        candidate.block(2 * turn_steps, turns())
    orders = random.Random(ORDER_SEED)
    for _ in range(blocks):
        for candidate in orders.sample(candidates, len(candidates)):
            count = max(1, int(steps * candidate.share) // turn_steps) * turn_steps
            block = turns()
            candidate.block(count, block)
            yield candidate.name, block.pair()


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
