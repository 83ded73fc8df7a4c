"""Whether there is something new of jobs that somebody waits for: the cheapest question that tells."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.status import Status
from db.tables import Job


@dataclass(frozen=True, kw_only=True)
class News:
    """The number of the last line of a job's timeline and its status; null for a job that is gone."""

    seq: int
    status: Status | None


#: Of a job that is gone.
GONE = News(seq=0, status=None)


def of(session: Session, job_ids: Collection[str]) -> dict[str, News]:
    """The news of each job that there is."""
    rows = session.execute(select(Job.id, Job.event_seq, Job.status).where(Job.id.in_(job_ids)))
    return {job_id: News(seq=seq, status=status) for job_id, seq, status in rows}
