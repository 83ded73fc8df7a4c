"""What clients may ask of a job: cancel, pause, resume, retry, change, delete."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import delete as delete_rows
from sqlalchemy import select
from sqlalchemy.orm import Session

from db import checkpoints, events, jobs, outbox
from db.base import now
from db.errors import NotFound, TransitionRefused
from db.events import EventType
from db.guard import guarded_update
from db.status import FINAL, Status
from db.tables import Event, Job

#: States in which each command is taken.
CANCELLABLE = (Status.QUEUED, Status.PAUSED, Status.STARTING, Status.RUNNING)
PAUSABLE = (Status.STARTING, Status.RUNNING)
RESUMABLE = (Status.PAUSED,)
RETRYABLE = (Status.FAILED, Status.CANCELLED)

#: Takes a job; returns it as it is then, and whether the command was new.
Command = Callable[[Session, str], tuple[Job, bool]]


def cancel(session: Session, job_id: str, *, reason: str = "cancelled") -> tuple[Job, bool]:
    """Cancel a job that no worker holds at once, for a reason; ask the worker of a live one to stop.

    Raises:
        NotFound: there is no such job.
        TransitionRefused: the job has ended otherwise.
    """
    job = _kept(session, job_id)
    if job.status in (Status.CANCELLING, Status.CANCELLED):
        return job, False
    _check(job, "be cancelled", CANCELLABLE)
    if job.status in (Status.QUEUED, Status.PAUSED):
        outbox.remove(session, job_id)
        return _move(session, job, Status.CANCELLED, reason, finished_at=now())
    return _move(session, job, Status.CANCELLING, "cancel_requested")


def pause(session: Session, job_id: str) -> tuple[Job, bool]:
    """Ask the worker of a job to write a checkpoint and to let go of it.

    Raises:
        NotFound: there is no such job.
        TransitionRefused: no worker has it.
    """
    job = _kept(session, job_id)
    if job.status in (Status.PAUSING, Status.PAUSED):
        return job, False
    _check(job, "be paused", PAUSABLE)
    return _move(session, job, Status.PAUSING, "pause_requested")


def resume(session: Session, job_id: str) -> tuple[Job, bool]:
    """Queue a paused job again; it goes on where it was.

    Raises:
        NotFound: there is no such job.
        TransitionRefused: it is not paused.
    """
    return _queue(session, job_id, "be resumed", RESUMABLE, "resumed")


def retry(session: Session, job_id: str) -> tuple[Job, bool]:
    """Queue a failed or cancelled job again: from its newest checkpoint, with all its tries and all its time.

    Raises:
        NotFound: there is no such job.
        TransitionRefused: it has not failed and was not cancelled.
    """
    fresh = {
        "finished_at": None,
        "failure_code": None,
        "failure_message": None,
        "failure_hint": None,
        "failure_step": None,
        "lost_attempts": 0,
        "spent_seconds": 0.0,
    }
    return _queue(session, job_id, "be retried", RETRYABLE, "retried", **fresh)


def change(session: Session, job_id: str, **values: Any) -> Job:
    """Set the name, labels or priority.

    Raises:
        NotFound: there is no such job.
    """
    job = _kept(session, job_id)
    before = {name: getattr(job, name) for name in values}
    if before != values:
        guarded_update(session, Job.id == job_id, **values)
        events.add(session, job_id, job.attempt, EventType.CHANGED, before=before, after=values)
        session.refresh(job)
    return job


def delete(session: Session, job_id: str) -> list[str]:
    """Forget a job that has ended, with all that it left; returns the store keys that nothing names any more.

    Raises:
        NotFound: there is no such job.
        TransitionRefused: it has not ended.
    """
    _check(_kept(session, job_id, to_delete=True), "be deleted", FINAL)
    keys = checkpoints.keys_of_job(session, job_id)
    session.execute(delete_rows(Job).where(Job.id == job_id))
    return keys


def _kept(session: Session, job_id: str, *, to_delete: bool = False) -> Job:
    """The job, its row kept until the commit: a worker that changes it at the same time waits, or goes first."""
    jobs.get(session, job_id)
    # Rows that name the job may come meanwhile, unless it is to go.
    lock = {"key_share": not to_delete}
    job = session.get(Job, job_id, with_for_update=lock, populate_existing=True)
    if job is None:  # deleted while this waited for the row
        raise NotFound("job", job_id)
    return job


def _check(job: Job, command: str, allowed: tuple[Status, ...]) -> None:
    if job.status not in allowed:
        raise TransitionRefused(command, job.status.value, [status.value for status in allowed])


def _queue(
    session: Session, job_id: str, command: str, allowed: tuple[Status, ...], reason: str, **values: Any
) -> tuple[Job, bool]:
    job = _kept(session, job_id)
    if job.status not in allowed and _was_queued_for(session, job, reason):
        return job, False
    _check(job, command, allowed)
    outbox.add(session, job_id)
    return _move(session, job, Status.QUEUED, reason, run_at=now(), **values)


def _was_queued_for(session: Session, job: Job, reason: str) -> bool:
    """Whether the command that is asked for is the one that has brought the job where it is."""
    if job.status is Status.QUEUED:
        return job.reason == reason
    if job.status not in (Status.STARTING, Status.RUNNING):
        return False
    queued = (Event.data["status"].as_string() == Status.QUEUED.value) & (Event.type == EventType.STATUS)
    query = select(Event).where(Event.job_id == job.id, queued).order_by(Event.seq.desc()).limit(1)
    last = session.scalars(query).one()
    return bool(last.data["reason"] == reason)


def _move(session: Session, job: Job, to: Status, reason: str, **values: Any) -> tuple[Job, bool]:
    guarded_update(session, Job.id == job.id, Job.status == job.status, status=to, reason=reason, **values)
    session.refresh(job)
    events.add_status(session, job.id, job.attempt, to, reason)
    return job, True
