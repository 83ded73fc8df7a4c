"""Jobs as clients see them: create, read.

`db.job_lists` lists them, `db.commands` has what may be asked of them.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import events, outbox
from db.base import now
from db.errors import NotFound
from db.events import EventType
from db.ids import is_id, new_id
from db.spec.job import JobSpec
from db.spec.warnings import warnings
from db.status import Status
from db.tables import Job

#: Priorities go from its negative to it.
MOST_PRIORITY = 100


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


def existing(session: Session, job_ids: Iterable[str]) -> set[str]:
    """Those of the ids that are of jobs."""
    ids = [job_id for job_id in job_ids if is_id("job", job_id)]
    return set(session.scalars(select(Job.id).where(Job.id.in_(ids))))
