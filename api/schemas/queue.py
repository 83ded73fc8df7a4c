"""The queue and the workers, as clients see them."""

from typing import Self

from api.schemas.base import Out, Timestamp
from db.queue import Counts, Place, QueuedJob
from db.workers import WorkerState


class PlaceOut(Out):
    """Where a queued job stands."""

    position: int
    """From 1, in the order of claims."""
    estimated_start_seconds: float | None
    """Seconds until it may start, if nothing comes and nothing goes wrong; null where nobody can say."""

    @classmethod
    def of(cls, place: Place | None) -> Self | None:
        """What a client sees of it; none where there is none."""
        return None if place is None else cls.model_validate(place)


class QueuedJobOut(Out):
    """A job that waits."""

    job: str
    """Its id."""
    name: str | None
    """Of the client; null if it gave none."""
    position: int
    """From 1, in the order of claims."""
    priority: int
    """The higher ones come first; -100 to 100."""
    architecture: str
    """Name of its network."""
    dataset: str
    """Name of its data set."""
    queued_at: Timestamp
    """Since when it may be claimed; lies ahead while the job waits before another try."""
    estimated_start_seconds: float | None
    """Seconds until it may start, if nothing comes and nothing goes wrong; null where nobody can say."""

    @classmethod
    def of(cls, line: QueuedJob) -> Self:
        """What a client sees of a line."""
        return cls(
            job=line.job,
            name=line.name,
            position=line.place.position,
            priority=line.priority,
            architecture=line.architecture,
            dataset=line.dataset,
            queued_at=line.queued_at,
            estimated_start_seconds=line.place.estimated_start_seconds,
        )


class QueuePage(Out):
    """The head of the queue; how many jobs wait and run in all, and on how many slots."""

    data: list[QueuedJobOut]
    """The head of the queue, in the order of claims."""
    next_cursor: None = None
    """Always null: what is longer than `limit` is only counted."""
    queued: int
    """Jobs that wait, in all."""
    running: int
    """Jobs that a worker holds."""
    slots: int
    """Jobs that the workers which are ready take at a time, together."""

    @classmethod
    def of(cls, lines: list[QueuedJob], counts: Counts) -> Self:
        """What a client sees of the queue."""
        data = [QueuedJobOut.of(line) for line in lines]
        return cls(data=data, queued=counts.queued, running=counts.running, slots=counts.slots)


class WorkerOut(Out):
    """A process that takes jobs."""

    name: str
    """Host, process id and start; an attempt's `worker` is this name."""
    status: str
    """`ready` for jobs, `draining` before its end, or `lost`: not heard of for 30 seconds."""
    slots: int
    """Jobs that it takes at a time."""
    busy: int
    """Jobs that it holds now."""
    device: str | None
    """What jobs with device `auto` run on; null until it has found out."""
    started_at: Timestamp
    """When it came."""
    seen_at: Timestamp
    """When it was heard of last."""


class WorkerList(Out):
    """The workers, by name."""

    data: list[WorkerOut]
    """The workers, by name."""
    next_cursor: None = None
    """Always null: the list is whole."""

    @classmethod
    def of(cls, workers: list[WorkerState]) -> Self:
        """What a client sees of the workers."""
        return cls(data=[WorkerOut.model_validate(worker) for worker in workers])
