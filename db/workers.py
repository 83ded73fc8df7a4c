"""The workers: what each says of itself every few seconds, and which are heard of no more."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from db.base import now
from db.service_tables import Worker
from db.status import LIVE, WorkerStatus
from db.tables import Job

#: Seconds without a word after which a worker counts as lost.
LOST_AFTER = 30.0
#: Seconds after which a lost worker is forgotten: a day.
FORGOTTEN_AFTER = 86_400.0


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """A worker as it shows from outside."""

    name: str
    #: Its own word, or that it is not heard of any more.
    status: Literal["ready", "draining", "lost"]
    #: Jobs at a time, and how many it holds now.
    slots: int
    busy: int
    device: str | None
    started_at: datetime
    seen_at: datetime


def report(session: Session, name: str, slots: int, status: WorkerStatus, device: str | None) -> None:
    """Say that a worker is there; its first word is its start.

    A worker alone speaks for its name, which is also the one that it claims jobs with.
    """
    said = {"slots": slots, "status": status, "device": device, "seen_at": now()}
    changed = update(Worker).where(Worker.name == name).values(said).returning(Worker.name)
    if session.execute(changed.execution_options(synchronize_session=False)).first() is None:
        session.add(Worker(name=name, started_at=now(), **said))
        session.flush()


def remove(session: Session, name: str) -> None:
    """Forget a worker that has ended in order."""
    session.execute(delete(Worker).where(Worker.name == name))


def purge(session: Session) -> None:
    """Forget the workers that have been lost for a day."""
    session.execute(delete(Worker).where(Worker.seen_at < now(-FORGOTTEN_AFTER)))


def live(session: Session) -> list[WorkerState]:
    """The workers that are heard of, draining ones too."""
    return [worker for worker in states(session) if worker.status != "lost"]


def states(session: Session) -> list[WorkerState]:
    """All workers that are known, by name."""
    busy = (
        select(func.count())
        .select_from(Job)
        .where(Job.status.in_(LIVE), Job.worker == Worker.name)
        .correlate(Worker)
        .scalar_subquery()
    )
    query = select(Worker, Worker.seen_at < now(-LOST_AFTER), busy).order_by(Worker.name)
    return [_state(*row) for row in session.execute(query)]


def _state(worker: Worker, is_lost: bool, busy: int) -> WorkerState:
    return WorkerState(
        name=worker.name,
        status="lost" if is_lost else worker.status.value,
        slots=worker.slots,
        busy=busy,
        device=worker.device,
        started_at=worker.started_at,
        seen_at=worker.seen_at,
    )
