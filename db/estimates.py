"""When a queued job may start: the queue played out on the slots of the workers (list scheduling, Graham 1966)."""

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

#: The newest jobs of a kind that its pace is taken from.
NEWEST = 20

#: Architecture and data set: jobs of one kind take about as long for a step.
Kind = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds that a step took lately; none where nothing is known."""

    of_kind: Mapping[Kind, float] = field(default_factory=dict)
    of_all: float | None = None

    def seconds(self, kind: Kind, steps: int) -> float | None:
        """How long so many steps of a job may take."""
        per_step = self.of_kind.get(kind, self.of_all)
        return None if per_step is None else per_step * steps


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A job in the queue."""

    #: Seconds until it may be claimed; 0 where it may now.
    wait: float
    #: That it may last; none where nothing is known.
    lasts: float | None


def pace(recent: Iterable[tuple[Kind, float, int]]) -> Pace:
    """The pace of jobs: kind, seconds and steps of each, the newest first.

    All steps of a kind by all their seconds, so that a long job says more than a short one, which mostly starts.
    """
    by_kind: dict[Kind, list[tuple[float, int]]] = {}
    for kind, seconds, steps in recent:
        by_kind.setdefault(kind, []).append((seconds, steps))
    everything = [job for found in by_kind.values() for job in found]
    return Pace(
        of_kind={kind: _per_step(found[:NEWEST]) for kind, found in by_kind.items()},
        of_all=_per_step(everything) if everything else None,
    )


def _per_step(found: Sequence[tuple[float, int]]) -> float:
    return sum(seconds for seconds, _ in found) / sum(steps for _, steps in found)


def starts(slots: int, running: Sequence[float | None], queue: Sequence[Waiting]) -> list[float | None]:
    """Seconds until each job of the queue starts, if nothing comes and nothing goes wrong; none where unknown.

    `running` are the seconds that the jobs in the slots still need, none where unknown; `queue` is in the order of
    claims. A slot whose end is unknown is not counted on.
    """
    if slots < 1:
        return [None] * len(queue)
    ends = sorted(math.inf if left is None else max(0.0, left) for left in running)
    # With more jobs than slots, as while a worker shrinks, the first ends free none.
    free_in = [0.0] * (slots - len(ends)) + ends[max(0, len(ends) - slots) :]
    heapq.heapify(free_in)
    found: list[float | None] = []
    for job in queue:
        start = max(free_in[0], job.wait)
        heapq.heapreplace(free_in, math.inf if job.lasts is None else start + job.lasts)
        found.append(start if math.isfinite(start) else None)
    return found
