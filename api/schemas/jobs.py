"""A job and what belongs to it, as clients see them."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from db.checkpoints import by_score
from db.queue import Place, eta_seconds
from db.status import ArtifactSource, ArtifactStatus, FailureCode, Status, is_retryable
from db.tables import Artifact, Attempt, Checkpoint, Event, Job


class Point(BaseModel):
    """A metric's value at a step; numbers that are not finite are the words NaN, Infinity, -Infinity."""

    value: float | str
    step: int


class Progress(BaseModel):
    """How far a job is."""

    step: int
    steps: int
    epoch: int
    samples_per_second: float | None
    eta_seconds: float | None


class FailureOut(BaseModel):
    """Why a job failed, at which step, and what to do."""

    code: FailureCode
    message: str
    hint: str | None
    step: int | None
    retryable: bool


class DatasetRef(BaseModel):
    """The data that a job had: sha256 over its decoded contents."""

    hash: str | None


#: Of an answer that does not look at the queue.
NO_PLACES: Mapping[str, Place] = MappingProxyType({})


class JobOut(BaseModel):
    """One training job. `queue` is null unless it is queued; answers to commands leave it out too."""

    id: str
    name: str | None
    labels: dict[str, str]
    status: Status
    reason: str | None
    spec: dict[str, Any]
    resolved: dict[str, Any]
    spec_hash: str
    priority: int
    attempt: int
    origin: dict[str, Any] | None
    queue: Place | None
    progress: Progress
    latest: dict[str, Point]
    best: dict[str, Point]
    failure: FailureOut | None
    dataset: DatasetRef
    environment: dict[str, Any] | None
    queued_seconds: float | None
    first_step_seconds: float | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

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
            queue=places.get(job.id),
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


class JobPage(BaseModel):
    """One page of jobs, the newest first."""

    data: list[JobOut]
    next_cursor: str | None


class EventOut(BaseModel):
    """One line of a job's timeline."""

    model_config = ConfigDict(from_attributes=True)

    seq: int
    type: str
    attempt: int
    at: datetime
    data: dict[str, Any]


class EventPage(BaseModel):
    """Lines of the timeline in order; read on with `after=next_cursor`."""

    data: list[EventOut]
    next_cursor: int | None

    @classmethod
    def of(cls, events: list[Event], limit: int) -> Self:
        """A page of at most `limit` of the lines; one more says that there is a next page."""
        page = [EventOut.model_validate(event) for event in events[:limit]]
        return cls(data=page, next_cursor=page[-1].seq if len(events) > limit else None)


class CheckpointOut(BaseModel):
    """A saved state. Its `score` is its value of what the job selects by; a damaged one is not used."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    job_id: str
    attempt: int
    step: int
    epoch: int
    size_bytes: int
    score: float | None
    is_best: bool = False
    created_at: datetime
    damaged_at: datetime | None


class AttemptOut(BaseModel):
    """One worker's try at a job; `start_step` is null until it has read the checkpoint that it goes on from."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    worker: str
    start_step: int | None
    started_at: datetime
    first_step_at: datetime | None
    finished_at: datetime | None
    outcome: str | None
    seconds: float | None = None

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """What a client sees of a row; `seconds` is how long it took, null while it goes on."""
        seconds = _seconds(attempt.started_at, attempt.finished_at)
        return cls.model_validate(attempt).model_copy(update={"seconds": seconds})


class AttemptList(BaseModel):
    """A job's attempts, in order."""

    data: list[AttemptOut]
    next_cursor: None = None


class ArtifactFailure(BaseModel):
    """Why a file could not be made, and what to do."""

    code: FailureCode
    message: str
    hint: str


class ArtifactOut(BaseModel):
    """A file, immutable once it is `ready`; its content is then at `/v1/artifacts/{id}/content`.

    `request`, `warnings`, `result` and `failure` belong to files that are made after the job.
    """

    model_config = ConfigDict(from_attributes=True)

    id: str
    job_id: str
    checkpoint_id: str
    source: ArtifactSource
    status: ArtifactStatus
    format: str
    filename: str
    media_type: str
    step: int
    sha256: str | None
    size_bytes: int | None
    request: dict[str, Any] | None
    warnings: list[dict[str, Any]] | None
    result: dict[str, Any] | None
    failure: ArtifactFailure | None
    created_at: datetime
    finished_at: datetime | None


class CheckpointList(BaseModel):
    """A job's checkpoints, the newest first."""

    data: list[CheckpointOut]
    next_cursor: None = None

    @classmethod
    def of(cls, checkpoints: list[Checkpoint]) -> Self:
        """What a client sees of the rows."""
        best = [row.id for row in by_score([row for row in checkpoints if row.damaged_at is None])[:1]]
        shown = [CheckpointOut.model_validate(row) for row in checkpoints]
        return cls(data=[row.model_copy(update={"is_best": row.id in best}) for row in shown])


class ArtifactList(BaseModel):
    """A job's files, the newest first."""

    data: list[ArtifactOut]
    next_cursor: None = None

    @classmethod
    def of(cls, artifacts: list[Artifact]) -> Self:
        """What a client sees of the rows."""
        return cls(data=[ArtifactOut.model_validate(row) for row in artifacts])
