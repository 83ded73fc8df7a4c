"""The queue as clients see it: who is before whom, and for how long."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, case, func, select
from sqlalchemy.orm import Session

from db import estimates, workers
from db.base import now
from db.estimates import Kind, Pace, Waiting
from db.origins import FORK
from db.status import LIVE, Status
from db.tables import Job

#: The longest part of the queue that is shown and whose starts are estimated.
LONGEST = 1000
#: Jobs that have ended lately from which paces are taken, over all kinds.
RECENT = 200
#: The specs of a long queue are not read.
SHOWN = (Job.id, Job.name, Job.priority, Job.architecture, Job.dataset, Job.run_at, Job.steps, Job.step)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a queued job stands."""

    #: From 1, in the order of claims.
    position: int
    #: Seconds until it may start; none where nobody can say.
    estimated_start_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class QueuedJob:
    """One line of the queue."""

    job: str
    name: str | None
    priority: int
    architecture: str
    dataset: str
    #: Since when it may be claimed; lies ahead while it waits before another try.
    queued_at: datetime
    place: Place


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How much there is to do, and on how many slots."""

    queued: int
    running: int
    slots: int


def order() -> tuple[ColumnElement[Any], ...]:
    """The order of claims; jobs that may not be claimed yet come after all that may."""
    return (Job.run_at > now()).asc(), Job.priority.desc(), Job.run_at.asc(), Job.id.asc()


def standing(session: Session, limit: int = LONGEST) -> list[QueuedJob]:
    """The queue from its head on."""
    query = select(*SHOWN, now().label("clock")).where(Job.status == Status.QUEUED).order_by(*order()).limit(limit)
    rows = session.execute(query).all()
    if not rows:
        return []
    ready = _ready(session)
    held = _held_by(session, ready)
    lately = pace(session, held)
    queue = [_waiting(row, lately) for row in rows]
    running = [_seconds_left(job, lately) for job in held]
    found = estimates.starts(sum(ready.values()), running, queue)
    return [
        _line(row, Place(position=position, estimated_start_seconds=start))
        for position, (row, start) in enumerate(zip(rows, found, strict=True), 1)
    ]


def places(session: Session, jobs: Iterable[Job], longest: int = LONGEST) -> dict[str, Place]:
    """Where those of the jobs that are queued stand, by id; beyond `longest` without an estimate."""
    wanted = {job.id for job in jobs if job.status is Status.QUEUED}
    if not wanted:
        return {}
    found = {line.job: line.place for line in standing(session, longest) if line.job in wanted}
    if beyond := wanted - found.keys():
        position = func.row_number().over(order_by=order()).label("position")
        numbered = select(Job.id, position).where(Job.status == Status.QUEUED).subquery()
        query = select(numbered.c.id, numbered.c.position).where(numbered.c.id.in_(beyond))
        for id, number in session.execute(query):
            found[id] = Place(position=number, estimated_start_seconds=None)
    return found


def counts(session: Session) -> Counts:
    """Jobs that wait, jobs that are held, and the slots of the workers that take jobs."""
    query = select(Job.status, func.count()).where(Job.status.in_((Status.QUEUED, *LIVE))).group_by(Job.status)
    by_status = dict(session.execute(query).all())
    queued = by_status.pop(Status.QUEUED, 0)
    return Counts(queued=queued, running=sum(by_status.values()), slots=sum(_ready(session).values()))


def pace(session: Session, running: Iterable[Job] = ()) -> Pace:
    """How fast jobs are, and were lately."""
    # A fork has made the steps after its checkpoint.
    began = case((Job.origin["kind"].as_string() == FORK, Job.origin["step"].as_integer()), else_=0)
    made = Job.step - began
    ended = (
        select(Job.architecture, Job.dataset, Job.spent_seconds, made)
        .where(Job.status == Status.SUCCEEDED, Job.spent_seconds > 0, made > 0)
        .order_by(Job.id.desc())
        .limit(RECENT)
    )
    now_running = ((_kind(job), _seconds_taken(job), job.step) for job in running if job.step)
    known = [(kind, seconds, steps) for kind, seconds, steps in now_running if seconds is not None]
    return estimates.pace([*known, *(((row[0], row[1]), row[2], row[3]) for row in session.execute(ended))])


def _seconds_taken(job: Job) -> float | None:
    """What the job has taken for its steps at the speed that it has."""
    return None if not job.samples_per_second else job.step * _step_samples(job) / job.samples_per_second


def _step_samples(job: Job) -> int:
    return int(job.resolved["batch_size"] * job.resolved["optimizer"].get("accumulate", 1))


def eta_seconds(job: Job) -> float | None:
    """What a job still needs at the speed that it has; none where it has not told yet."""
    if not job.samples_per_second:
        return None
    return float((job.steps - job.step) * _step_samples(job) / job.samples_per_second)


def _waiting(row: Row[*tuple[Any, ...]], lately: Pace) -> Waiting:
    wait = max(0.0, (row.run_at - row.clock).total_seconds())
    return Waiting(wait=wait, lasts=lately.seconds(_kind(row), row.steps - row.step))


def _seconds_left(job: Job, lately: Pace) -> float | None:
    if job.status in (Status.PAUSING, Status.CANCELLING):
        return 0.0
    own = eta_seconds(job)
    return lately.seconds(_kind(job), job.steps - job.step) if own is None else own


def _kind(job: Job | Row[*tuple[Any, ...]]) -> Kind:
    return job.architecture, job.dataset


def _ready(session: Session) -> dict[str, int]:
    """Slots of the workers that take jobs, by name."""
    return {worker.name: worker.slots for worker in workers.live(session) if worker.status == "ready"}


def _held_by(session: Session, names: Iterable[str]) -> Sequence[Job]:
    return session.scalars(select(Job).where(Job.status.in_(LIVE), Job.worker.in_(list(names)))).all()


def _line(row: Row[*tuple[Any, ...]], place: Place) -> QueuedJob:
    return QueuedJob(
        job=row.id,
        name=row.name,
        priority=row.priority,
        architecture=row.architecture,
        dataset=row.dataset,
        queued_at=row.run_at,
        place=place,
    )
