"""Jobs as clients see them: create, read, list. `db.commands` has what may be asked of them."""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import events, outbox
from db.base import now
from db.errors import InvalidCursor, NotFound
from db.events import EventType
from db.ids import is_id, new_id
from db.spec.job import JobSpec
from db.spec.warnings import warnings
from db.status import Status
from db.tables import Job

#: Priorities go from its negative to it.
MOST_PRIORITY = 100


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Which jobs a list holds; null for any."""

    status: Status | None = None
    norm: str | None = None
    architecture: str | None = None


def create(
    session: Session,
    spec: JobSpec,
    *,
    priority: int = 0,
    id: str | None = None,
    origin: dict[str, Any] | None = None,
) -> Job:
    """Store a queued job and the message that will wake a worker, in one transaction."""
    resolved = spec.resolved()
    job = Job(
        id=id or new_id("job"),
        name=spec.name,
        labels=spec.labels,
        status=Status.QUEUED,
        priority=priority,
        spec=spec.model_dump(mode="json", exclude_unset=True),
        resolved=resolved.to_json(),
        spec_hash=resolved.digest(),
        architecture=spec.architecture.name,
        norm=str(spec.norm.name),
        dataset=str(spec.dataset.name),
        attempt=0,
        lost_attempts=0,
        run_at=now(),
        spent_seconds=0.0,
        event_seq=0,
        origin=origin,
        step=0,
        steps=resolved.steps,
        epoch=0,
        latest={},
        best={},
        created_at=now(),
    )
    session.add(job)
    session.flush()
    session.refresh(job)
    outbox.add(session, job.id)
    events.add_status(session, job.id, 0, Status.QUEUED, "submitted")
    for warning in warnings(spec):
        events.add(session, job.id, 0, EventType.WARNING, **asdict(warning))
    return job


def get(session: Session, job_id: str) -> Job:
    """The job.

    Raises:
        NotFound: there is none with this id.
    """
    job = session.get(Job, job_id) if is_id("job", job_id) else None
    if job is None:
        raise NotFound("job", job_id)
    return job


def page(session: Session, where: JobFilter, limit: int, cursor: str | None) -> tuple[list[Job], str | None]:
    """Jobs from the newest on, and the cursor of the next page if there is one.

    Pages go by key, not by offset: the hundredth costs what the first does.

    Raises:
        InvalidCursor: `cursor` is not the id of a job.
    """
    query = select(Job).order_by(Job.id.desc()).limit(limit + 1)
    for column, value in (
        (Job.status, where.status),
        (Job.norm, where.norm),
        (Job.architecture, where.architecture),
    ):
        if value is not None:
            query = query.where(column == value)
    if cursor is not None:
        if not is_id("job", cursor):
            raise InvalidCursor("cursor")
        query = query.where(Job.id < cursor)
    jobs = list(session.scalars(query))
    return jobs[:limit], jobs[limit - 1].id if len(jobs) > limit else None
