"""A job's timeline."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.base import now
from db.status import Status
from db.tables import Event, Job


def add(session: Session, job_id: str, attempt: int, type: str, **data: Any) -> None:
    """Add a line to the timeline, numbered after the last one."""
    # Two writers would take the same number; the job's row makes them wait for one another.
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update())
    last = session.scalar(select(func.max(Event.seq)).where(Event.job_id == job_id)) or 0
    session.add(Event(job_id=job_id, seq=last + 1, type=type, attempt=attempt, at=now(), data=data))
    session.flush()


def add_status(session: Session, job_id: str, attempt: int, status: Status, reason: str | None = None) -> None:
    """Add a change of status."""
    add(session, job_id, attempt, "status", status=status.value, reason=reason)


def after(session: Session, job_id: str, seq: int, limit: int) -> Sequence[Event]:
    """Lines with a number above `seq`, in order."""
    query = select(Event).where(Event.job_id == job_id, Event.seq > seq).order_by(Event.seq).limit(limit)
    return session.scalars(query).all()
