"""The attempts at a job."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.tables import Attempt


def list_for(session: Session, job_id: str) -> Sequence[Attempt]:
    """The tries of workers, in order; what a fork began with is none."""
    query = select(Attempt).where(Attempt.job_id == job_id, Attempt.number > 0)
    return session.scalars(query.order_by(Attempt.number)).all()
