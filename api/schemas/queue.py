"""The queue and the workers, as clients see them."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict

from db.queue import Counts, QueuedJob
from db.workers import WorkerState


class QueuedJobOut(BaseModel):
    """A job that waits: its position from 1 in the order of claims, and seconds until it may start, if known.

    `queued_at` lies ahead while the job waits before another try.
    """

    job: str
    name: str | None
    position: int
    priority: int
    architecture: str
    dataset: str
    queued_at: datetime
    estimated_start_seconds: float | None

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


class QueuePage(BaseModel):
    """The head of the queue; how many jobs wait and run in all, and on how many slots."""

    data: list[QueuedJobOut]
    next_cursor: None = None
    queued: int
    running: int
    slots: int

    @classmethod
    def of(cls, lines: list[QueuedJob], counts: Counts) -> Self:
        """What a client sees of the queue."""
        data = [QueuedJobOut.of(line) for line in lines]
        return cls(data=data, queued=counts.queued, running=counts.running, slots=counts.slots)


class WorkerOut(BaseModel):
    """A worker: `ready` for jobs, `draining` before its end, or `lost`, not heard of for a while."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    status: str
    slots: int
    busy: int
    device: str | None
    started_at: datetime
    seen_at: datetime


class WorkerList(BaseModel):
    """The workers, by name."""

    data: list[WorkerOut]
    next_cursor: None = None

    @classmethod
    def of(cls, workers: list[WorkerState]) -> Self:
        """What a client sees of the workers."""
        return cls(data=[WorkerOut.model_validate(worker) for worker in workers])
