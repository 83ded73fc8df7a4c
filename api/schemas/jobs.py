"""A job as clients see it."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Self

from api.schemas.base import Out, Timestamp
from api.schemas.queue import PlaceOut
from db.queue import Place, eta_seconds
from db.status import FailureCode, Status, is_retryable
from db.tables import Job


class Point(Out):
    """A metric's value at a step."""

    value: float | str
    """The number; one that is not finite is the word NaN, Infinity or -Infinity."""
    step: int
    """The optimizer step that it belongs to."""


class Progress(Out):
    """How far a job is."""

    step: int
    """Optimizer steps that are done and recorded."""
    steps: int
    """Optimizer steps of the whole job."""
    epoch: int
    """The epoch of the last batch, from 1; 0 before the first."""
    samples_per_second: float | None
    """Training samples, without the time of evaluations and probes; the mean of the attempt. Null before the first
    flush."""
    eta_seconds: float | None
    """Seconds of training that are left at this speed, without those of evaluations; null where the speed is not
    known, and of a job that has ended."""


class FailureOut(Out):
    """Why a job failed, at which step, and what to do."""

    code: FailureCode
    """What went wrong; docs/jobs.md lists the codes."""
    message: str
    """The same in words."""
    hint: str | None
    """What to do; the diagnosis may have made it more exact."""
    step: int | None
    """The optimizer step at which it went wrong; null where that is not a matter of steps."""
    retryable: bool
    """Whether the same job may end otherwise when it is retried."""


class DatasetRef(Out):
    """The data that a job had: sha256 over its decoded contents."""

    hash: str | None
    """In hex; null until a worker has read the data."""


#: Of an answer that does not look at the queue.
NO_PLACES: Mapping[str, Place] = MappingProxyType({})


class JobOut(Out):
    """One training job."""

    id: str
    """`job_...`."""
    name: str | None
    """Of the client; null if it gave none."""
    labels: dict[str, str]
    """The client's own, by key."""
    status: Status
    """Where the job is in its life; docs/jobs.md has the states and who moves a job between them."""
    reason: str | None
    """Why it is in this status, `completed` or `released` say; null after the submission, and while a worker holds
    the job and nothing is asked of it."""
    spec: dict[str, Any]
    """As it was posted."""
    resolved: dict[str, Any]
    """The spec with every default filled in: what is trained."""
    spec_hash: str
    """sha256 of the resolved spec without name and labels, in hex: the same for jobs that train the same."""
    priority: int
    """Jobs of higher priority are claimed first; -100 to 100."""
    attempt: int
    """Number of the newest attempt; 0 before the first."""
    origin: dict[str, Any] | None
    """Of a fork or a reproduction: the `kind`, the `job` that it comes from, the `step`, and what came of a
    reproduction. Null for a job that was posted."""
    queue: PlaceOut | None
    """Its place in the queue. Null unless it is queued; answers to commands leave it out too."""
    progress: Progress
    """How far it is."""
    latest: dict[str, Point]
    """The newest value of each metric, by name."""
    best: dict[str, Point]
    """The best value of each loss, error and accuracy, by name."""
    failure: FailureOut | None
    """Why it failed; null unless it has."""
    dataset: DatasetRef
    """The data that it had."""
    environment: dict[str, Any] | None
    """What it ran on: versions, device, threads, precision. Null until its first attempt has begun."""
    queued_seconds: float | None
    """From the submission to the first claim, in seconds; null before."""
    first_step_seconds: float | None
    """From the submission to the end of the first optimizer step, in seconds; null before."""
    created_at: Timestamp
    """When it was submitted."""
    started_at: Timestamp | None
    """When it was claimed for the first time; null before."""
    finished_at: Timestamp | None
    """When it ended; null before, and again once it is retried."""

    @classmethod
    def of(cls, job: Job, places: Mapping[str, Place] = NO_PLACES) -> Self:
        """What a client sees of a row, with its place among those of `places`."""
        return cls(
            id=job.id,
            name=job.name,
            labels=job.labels,
            status=job.status,
            reason=job.reason,
            spec=job.spec,
            resolved=job.resolved,
            spec_hash=job.spec_hash,
            priority=job.priority,
            attempt=job.attempt,
            origin=job.origin,
            queue=PlaceOut.of(places.get(job.id)),
            progress=_progress(job),
            latest=job.latest,
            best=job.best,
            failure=_failure(job),
            dataset=DatasetRef(hash=job.dataset_hash),
            environment=job.environment,
            queued_seconds=_seconds(job.created_at, job.started_at),
            first_step_seconds=_seconds(job.created_at, job.first_step_at),
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
        )


def _seconds(start: datetime, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if end is not None else None


def _progress(job: Job) -> Progress:
    return Progress(
        step=job.step,
        steps=job.steps,
        epoch=job.epoch,
        samples_per_second=job.samples_per_second,
        eta_seconds=eta_seconds(job) if job.finished_at is None else None,
    )


def _failure(job: Job) -> FailureOut | None:
    if job.failure_code is None or job.failure_message is None:
        return None
    return FailureOut(
        code=job.failure_code,
        message=job.failure_message,
        hint=job.failure_hint,
        step=job.failure_step,
        retryable=is_retryable(job.failure_code),
    )


class JobPage(Out):
    """One page of jobs."""

    data: list[JobOut]
    """The jobs, in the order that was asked for."""
    next_cursor: str | None
    """For `cursor`, to read on; null on the last page."""
