"""The tables of a job and of what it leaves behind. Every invariant stands here as a constraint too."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, text_enum
from db.status import FINAL, LIVE, ArtifactSource, ArtifactStatus, FailureCode, LogStream, Status


def _one_of(column: str, values: tuple[Status, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value.value) for value in values)})"


def _job_key() -> ForeignKey:
    """A job's rows go with the job."""
    return ForeignKey("jobs.id", ondelete="CASCADE")


def _attempt_key() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["job_id", "attempt"], ["attempts.job_id", "attempts.number"], ondelete="CASCADE")


class Job(Base):
    """One training job."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"({_one_of('status', LIVE)}) = (lease_expires IS NOT NULL)", "live_has_lease"),
        CheckConstraint(f"({_one_of('status', FINAL)}) = (finished_at IS NOT NULL)", "final_has_end"),
        CheckConstraint("(status = 'failed') = (failure_code IS NOT NULL)", "failed_has_code"),
        CheckConstraint("(failure_code IS NULL) = (failure_message IS NULL)", "failure_has_message"),
        CheckConstraint("attempt >= 0 AND lost_attempts >= 0 AND lost_attempts <= attempt", "attempts"),
        CheckConstraint("step >= 0 AND step <= steps AND steps > 0", "step_in_range"),
        CheckConstraint("event_seq >= 0 AND spent_seconds >= 0", "counters"),
        Index(
            "ix_jobs_claim",
            sa.text("priority DESC"),
            "run_at",
            "id",
            sqlite_where=sa.text("status = 'queued'"),
            postgresql_where=sa.text("status = 'queued'"),
        ),
        Index("ix_jobs_status_id", "status", "id"),
        Index("ix_jobs_norm_id", "norm", "id"),
        Index("ix_jobs_architecture_id", "architecture", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    labels: Mapped[dict[str, Any]]
    status: Mapped[Status] = mapped_column(text_enum(Status, "status"))
    reason: Mapped[str | None]
    priority: Mapped[int]
    #: What the client posted, and the same with every default filled in.
    spec: Mapped[dict[str, Any]]
    resolved: Mapped[dict[str, Any]]
    spec_hash: Mapped[str] = mapped_column(index=True)
    architecture: Mapped[str]
    norm: Mapped[str]
    dataset: Mapped[str]
    #: The fencing token: a write of an earlier attempt finds no row.
    attempt: Mapped[int]
    #: Those that have failed since the last checkpoint.
    lost_attempts: Mapped[int]
    worker: Mapped[str | None]
    lease_expires: Mapped[datetime | None]
    #: Not to be claimed before.
    run_at: Mapped[datetime]
    #: That attempts have taken which are over, towards the spec's `max_runtime_seconds`.
    spent_seconds: Mapped[float]
    #: Number of the last line of the timeline: who waits for news looks here.
    event_seq: Mapped[int]
    #: Of a fork or a reproduction: {"kind": ..., "job": ..., ...}; `db.origins` says what else.
    origin: Mapped[dict[str, Any] | None]
    step: Mapped[int] = mapped_column(sa.BigInteger)
    steps: Mapped[int] = mapped_column(sa.BigInteger)
    epoch: Mapped[int] = mapped_column(sa.BigInteger)
    samples_per_second: Mapped[float | None]
    #: {metric: {"value": ..., "step": ...}}
    latest: Mapped[dict[str, Any]]
    best: Mapped[dict[str, Any]]
    failure_code: Mapped[FailureCode | None] = mapped_column(text_enum(FailureCode, "failure_code"))
    failure_message: Mapped[str | None]
    failure_hint: Mapped[str | None]
    failure_step: Mapped[int | None] = mapped_column(sa.BigInteger)
    dataset_hash: Mapped[str | None]
    environment: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    first_step_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Attempt(Base):
    """One worker's try at a job. Records beyond `start_step` of a later attempt are superseded.

    A fork has an attempt 0, which holds the checkpoint that it begins with.
    """

    __tablename__ = "attempts"
    __table_args__ = (CheckConstraint("number >= 0 AND start_step >= 0", "positive"),)

    job_id: Mapped[str] = mapped_column(_job_key(), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    worker: Mapped[str]
    #: Null until the attempt has found the checkpoint that it goes on from.
    start_step: Mapped[int | None] = mapped_column(sa.BigInteger)
    started_at: Mapped[datetime]
    first_step_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None]


class Outbox(Base):
    """A queued job's message: written with the job, sent after the commit, gone once the job is claimed."""

    __tablename__ = "outbox"

    job_id: Mapped[str] = mapped_column(_job_key(), primary_key=True)
    created_at: Mapped[datetime]
    #: The last time that it was sent.
    sent_at: Mapped[datetime | None] = mapped_column(index=True)


class Event(Base):
    """One line of a job's timeline."""

    __tablename__ = "events"
    __table_args__ = (CheckConstraint("seq > 0", "seq_positive"),)

    job_id: Mapped[str] = mapped_column(_job_key(), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str]
    attempt: Mapped[int]
    at: Mapped[datetime]
    data: Mapped[dict[str, Any]]


class Chunk(Base):
    """A run of consecutive rows of one stream of numbers; `db.chunks` says how they are laid out."""

    __tablename__ = "chunks"
    __table_args__ = (
        CheckConstraint("kind IN ('metrics', 'statistics', 'probes')", "kind"),
        CheckConstraint("rows > 0 AND first_step <= last_step AND number >= 0", "not_empty"),
        _attempt_key(),
    )

    job_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    stream: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    first_step: Mapped[int] = mapped_column(sa.BigInteger)
    last_step: Mapped[int] = mapped_column(sa.BigInteger)
    rows: Mapped[int]
    dtype: Mapped[str]
    #: [[column, width], ...]
    columns: Mapped[list[Any]]
    # The header of the chunk, a coarser one, and the numbers: last, so that a read of headers stops before.
    header: Mapped[bytes]
    digest: Mapped[bytes]
    step_values: Mapped[bytes]
    payload: Mapped[bytes]


class Checkpoint(Base):
    """A saved state of a job; its files are artifacts."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        UniqueConstraint("job_id", "attempt", "step"),
        _attempt_key(),
        CheckConstraint("step >= 0 AND size_bytes >= 0", "positive"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(_job_key())
    attempt: Mapped[int]
    step: Mapped[int] = mapped_column(sa.BigInteger)
    #: Where the state of the trainer lies in the store, and its sha256.
    state_key: Mapped[str]
    state_sha256: Mapped[str] = mapped_column(sa.String(64))
    size_bytes: Mapped[int] = mapped_column(sa.BigInteger)
    epoch: Mapped[int] = mapped_column(sa.BigInteger)
    #: What the job shows as of this step: {metric: {"value": ..., "step": ...}}
    latest: Mapped[dict[str, Any]]
    best: Mapped[dict[str, Any]]
    #: Value of the metric by which the job selects, where the step was evaluated and it is a number.
    score: Mapped[float | None]
    #: False for those of an older version, which lack something that exact resumption needs.
    is_resumable: Mapped[bool]
    #: When a file of it was found to differ from what was written; it is not used again.
    damaged_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class Artifact(Base):
    """A file that a client may download, immutable once it is there; `db.afterwork` makes the pending ones."""

    __tablename__ = "artifacts"
    __table_args__ = (
        UniqueConstraint("checkpoint_id", "filename"),
        CheckConstraint("length(sha256) = 64 AND size_bytes >= 0", "described"),
        CheckConstraint("(status = 'ready') = (store_key IS NOT NULL)", "ready_has_file"),
        CheckConstraint(
            "(store_key IS NULL) = (sha256 IS NULL) AND (store_key IS NULL) = (size_bytes IS NULL)",
            "whole_or_none",
        ),
        CheckConstraint("(status = 'failed') = (failure IS NOT NULL)", "failed_has_failure"),
        CheckConstraint("source <> 'training' OR status = 'ready'", "training_is_ready"),
        CheckConstraint("(source = 'training') = (request IS NULL)", "work_has_request"),
        CheckConstraint("status = 'pending' OR lease_expires IS NULL", "ended_has_no_lease"),
        CheckConstraint("status = 'pending' OR inputs_key IS NULL", "ended_has_no_inputs"),
        CheckConstraint("attempt >= 0 AND lost_attempts >= 0 AND lost_attempts <= attempt", "attempts"),
        Index("ix_artifacts_status_id", "status", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(_job_key(), index=True)
    checkpoint_id: Mapped[str] = mapped_column(ForeignKey("checkpoints.id", ondelete="CASCADE"))
    source: Mapped[ArtifactSource] = mapped_column(text_enum(ArtifactSource, "source"))
    status: Mapped[ArtifactStatus] = mapped_column(text_enum(ArtifactStatus, "status"))
    format: Mapped[str]
    filename: Mapped[str]
    media_type: Mapped[str]
    step: Mapped[int] = mapped_column(sa.BigInteger)
    #: The file, once it is ready.
    store_key: Mapped[str | None] = mapped_column(unique=True)
    sha256: Mapped[str | None] = mapped_column(sa.String(64))
    size_bytes: Mapped[int | None] = mapped_column(sa.BigInteger)
    #: Of work after the job: what was asked for, what is to be said of that, and where a client's own data wait.
    request: Mapped[dict[str, Any] | None]
    warnings: Mapped[list[Any] | None]
    inputs_key: Mapped[str | None]
    #: What came of it; or {"code": ..., "message": ..., "hint": ...}.
    result: Mapped[dict[str, Any] | None]
    failure: Mapped[dict[str, Any] | None]
    #: The fencing token of work after the job: a write of an earlier attempt finds no row.
    attempt: Mapped[int]
    lost_attempts: Mapped[int]
    lease_expires: Mapped[datetime | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class Log(Base):
    """Some lines of what an attempt's process wrote."""

    __tablename__ = "logs"
    __table_args__ = (
        CheckConstraint("seq > 0", "seq_positive"),
        _attempt_key(),
    )

    job_id: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    #: Counted within the attempt.
    seq: Mapped[int] = mapped_column(primary_key=True)
    stream: Mapped[LogStream] = mapped_column(text_enum(LogStream, "stream"))
    at: Mapped[datetime]
    text: Mapped[str]
