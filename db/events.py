"""A job's timeline."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.base import now
from db.status import Status
from db.tables import Event, Job


class EventType(StrEnum):
    """What a line of the timeline tells; docs/jobs.md says what the `data` of each holds."""

    STATUS = "status"
    WARNING = "warning"
    CHECKPOINT = "checkpoint"
    CHECKPOINT_DAMAGED = "checkpoint_damaged"
    STORAGE_FULL = "storage_full"
    STORAGE_FAILED = "storage_failed"
    RESUMED = "resumed"
    CREATED_FROM = "created_from"
    REPRODUCED = "reproduced"
    EARLY_STOPPING = "early_stopping"
    DIAGNOSIS = "diagnosis"
    CHANGED = "changed"


def add(session: Session, job_id: str, attempt: int, type: EventType, **data: Any) -> None:
    """Add a line to the timeline, numbered after the last one."""
    # The job's row has the number: two writers wait for one another, and who waits for news asks for one number.
    count = update(Job).where(Job.id == job_id).values(event_seq=Job.event_seq + 1).returning(Job.event_seq)
    seq = session.execute(count.execution_options(synchronize_session=False)).scalar_one()
    session.add(Event(job_id=job_id, seq=seq, type=type, attempt=attempt, at=now(), data=data))
    session.flush()


def add_status(
    session: Session, job_id: str, attempt: int, status: Status, reason: str | None = None, **more: Any
) -> None:
    """Add a change of status."""
    add(session, job_id, attempt, EventType.STATUS, status=status.value, reason=reason, **more)


def after(session: Session, job_id: str, seq: int, limit: int) -> Sequence[Event]:
    """Lines with a number above `seq`, in order."""
    query = select(Event).where(Event.job_id == job_id, Event.seq > seq).order_by(Event.seq).limit(limit)
    return session.scalars(query).all()
