"""Messages to the queue: written with the job, sent after the commit, sent again until the job is claimed."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session

from db.base import now
from db.status import Status
from db.tables import Job, Outbox

#: Seconds after which a message whose job is still queued counts as lost.
RESEND_AFTER = 60.0


def add(session: Session, job_id: str) -> None:
    """Ask for a message for a job that has just become queued."""
    session.add(Outbox(job_id=job_id, created_at=now(), sent_at=None))
    session.flush()


def remove(session: Session, job_id: str) -> None:
    """Forget the message of a job that is no longer queued."""
    session.execute(delete(Outbox).where(Outbox.job_id == job_id))


def due(session: Session, limit: int, *, also_lost: bool) -> Sequence[str]:
    """Jobs whose message was never sent or, with `also_lost`, so long ago that it may be lost."""
    unsent: ColumnElement[bool] = Outbox.sent_at.is_(None)
    if also_lost:
        unsent = or_(unsent, Outbox.sent_at < now(-RESEND_AFTER))
    query = (
        select(Outbox.job_id)
        .join(Job, Job.id == Outbox.job_id)
        .where(unsent, Job.status == Status.QUEUED, Job.run_at <= now())
        .order_by(Job.priority.desc(), Job.id)
        .limit(limit)
    )
    return session.scalars(query).all()


def mark_sent(session: Session, job_id: str) -> None:
    """Note that the message was handed to the broker."""
    session.execute(update(Outbox).where(Outbox.job_id == job_id).values(sent_at=now()))
