"""The job protocol: who holds a job, and every change of status that its worker makes.

A claim raises the attempt number. The number is the fencing token: each later write carries it and finds no row
once another attempt holds the job. `db.recovery` takes back what was held by an attempt that is gone.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from db import events, outbox
from db.base import now, seconds_since
from db.errors import AttemptSuperseded
from db.events import EventType
from db.guard import guarded_update
from db.status import FINAL, LIVE, FailureCode, Status, sources
from db.tables import Attempt, Job

#: Seconds that the jobs of a version without `max_runtime_seconds` get.
DEFAULT_RUNTIME = 86_400


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A worker's hold of a job: what every write of the attempt is checked against."""

    job_id: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a job failed, at which step, and what to do."""

    code: FailureCode
    message: str
    hint: str
    step: int | None = None


def is_due(session: Session) -> bool:
    """Whether there is a job to claim; cheap enough to ask every second."""
    return session.scalar(_claimable()) is not None


def claim(session: Session, worker: str, lease_seconds: float) -> Hold | None:
    """Take the queued job of highest priority, the oldest first; none if there is none."""
    candidate = _claimable().with_for_update(skip_locked=True).scalar_subquery()
    claimed = session.execute(
        update(Job)
        .where(Job.id == candidate, Job.status == Status.QUEUED)
        .values(
            status=Status.STARTING,
            attempt=Job.attempt + 1,
            worker=worker,
            lease_expires=now(lease_seconds),
            reason=None,
            started_at=func.coalesce(Job.started_at, now()),
        )
        .returning(Job.id, Job.attempt)
    ).first()
    if claimed is None:
        return None
    hold = Hold(job_id=claimed.id, attempt=claimed.attempt)
    # Where it starts is known once its checkpoint has been read: until then nothing of the others is superseded.
    session.add(Attempt(job_id=hold.job_id, number=hold.attempt, worker=worker, start_step=None, started_at=now()))
    outbox.remove(session, hold.job_id)
    events.add_status(session, hold.job_id, hold.attempt, Status.STARTING, "claimed", worker=worker)
    return hold


def _claimable() -> Any:
    return (
        select(Job.id)
        .where(Job.status == Status.QUEUED, Job.run_at <= now())
        .order_by(Job.priority.desc(), Job.run_at, Job.id)
        .limit(1)
    )


def max_runtime(session: Session, hold: Hold) -> float:
    """Seconds that all attempts of the job may take together."""
    resolved = session.execute(select(Job.resolved).where(Job.id == hold.job_id)).scalar_one()
    # A job of an older version may have been queued without a limit.
    return float(resolved.get("max_runtime_seconds", DEFAULT_RUNTIME))


def runtime_left(session: Session, hold: Hold) -> float:
    """Seconds that an attempt may take, of which those before it have taken some."""
    spent = session.execute(select(Job.spent_seconds).where(Job.id == hold.job_id)).scalar_one()
    return max_runtime(session, hold) - spent


def beat(session: Session, hold: Hold, lease_seconds: float) -> Status:
    """Extend the lease and learn what clients want.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    record(session, hold, lease_expires=now(lease_seconds))
    return session.execute(select(Job.status).where(Job.id == hold.job_id)).scalar_one()


def status(session: Session, hold: Hold) -> Status:
    """What clients want of the job or how the attempt has ended, without a write.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    found = session.scalar(select(Job.status).where(Job.id == hold.job_id, Job.attempt == hold.attempt))
    if found is None:
        raise AttemptSuperseded(hold.job_id, hold.attempt)
    return found


def has_begun(session: Session, hold: Hold) -> bool:
    """Whether the attempt has made a step."""
    key = (Attempt.job_id == hold.job_id, Attempt.number == hold.attempt)
    return session.scalar(select(Attempt.first_step_at).where(*key)) is not None


def record(session: Session, hold: Hold, **values: Any) -> None:
    """Set columns that are no status: progress, latest and best metrics, environment, data hash.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    if not _change(session, hold, LIVE, values):
        raise AttemptSuperseded(hold.job_id, hold.attempt)


def check(session: Session, hold: Hold) -> None:
    """Keep the job's row until the transaction ends.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    record(session, hold, attempt=hold.attempt)


def start_from(session: Session, hold: Hold, step: int, epoch: int, **shown: dict[str, Any]) -> None:
    """The attempt goes on after `step`, 0 for the beginning: what others recorded beyond it is superseded.

    `shown` are the latest and best metrics as of that step.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    record(session, hold, step=step, epoch=epoch, **shown)
    own = (Attempt.job_id == hold.job_id, Attempt.number == hold.attempt)
    is_new = session.scalar(select(Attempt.start_step).where(*own)) != step
    _of_attempt(session, hold, start_step=step)
    if step and is_new:  # where the answer to a commit was lost, it is made again
        events.add(session, hold.job_id, hold.attempt, EventType.RESUMED, step=step)


def begin(session: Session, hold: Hold) -> None:
    """The attempt's first optimizer step is done."""
    record(session, hold, first_step_at=func.coalesce(Job.first_step_at, now()))
    _of_attempt(session, hold, first_step_at=now())
    if _change(session, hold, (Status.STARTING,), {"status": Status.RUNNING}):
        events.add_status(session, hold.job_id, hold.attempt, Status.RUNNING, "first_step")


def succeed(session: Session, hold: Hold, reason: str = "completed") -> None:
    """The job is done; this also holds where a cancel or a pause came too late."""
    leave(session, hold, Status.SUCCEEDED, reason)


def cancelled(session: Session, hold: Hold) -> None:
    """The trainer has stopped for a cancel."""
    leave(session, hold, Status.CANCELLED, "cancelled")


def paused(session: Session, hold: Hold) -> None:
    """The trainer has stopped for a pause, and its checkpoint is committed."""
    leave(session, hold, Status.PAUSED, "paused")


def fail(session: Session, hold: Hold, failure: Failure) -> None:
    """The job cannot be completed: trying again would only repeat it, or all tries are used up."""
    leave(
        session,
        hold,
        Status.FAILED,
        failure.code.value,
        failure_code=failure.code,
        failure_message=failure.message,
        failure_hint=failure.hint,
        failure_step=failure.step,
    )


def release(session: Session, hold: Hold) -> None:
    """Hand the job back for another worker; not a lost attempt. What a client asked for meanwhile is honoured.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    check(session, hold)
    if not honour(session, hold):
        requeue(session, hold, "released")


def honour(session: Session, hold: Hold, **more: Any) -> bool:
    """End a job that a client wants cancelled or paused and whose trainer is gone; false if none wants that.

    `more` goes to the timeline, as what has become of the trainer.
    """
    wanted = status(session, hold)
    if wanted is Status.CANCELLING:
        leave(session, hold, Status.CANCELLED, "cancelled", more)
    elif wanted is Status.PAUSING:
        leave(session, hold, Status.PAUSED, "paused", more)
    else:
        return False
    return True


def requeue(session: Session, hold: Hold, reason: str, delay_seconds: float = 0.0, **more: Any) -> None:
    """Put the job back into the queue.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    values = {"lease_expires": None, "reason": reason, "run_at": now(delay_seconds)}
    spent = _spent(session, hold)
    if not _change(session, hold, _live_sources(Status.QUEUED), {"status": Status.QUEUED, **values}):
        raise AttemptSuperseded(hold.job_id, hold.attempt)
    outbox.add(session, hold.job_id)
    _close(session, hold, Status.QUEUED, spent, reason, **more)


def leave(
    session: Session, hold: Hold, to: Status, reason: str, told: dict[str, Any] | None = None, **values: Any
) -> None:
    """End the attempt with the job in a state that no worker holds; `told` goes to the timeline.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    ended = {"finished_at": now()} if to in FINAL else {}
    changed = {"status": to, "lease_expires": None, "reason": reason, **ended, **values}
    spent = _spent(session, hold)
    if not _change(session, hold, _live_sources(to), changed):
        raise AttemptSuperseded(hold.job_id, hold.attempt)
    _close(session, hold, to, spent, reason, **(told or {}))


def _spent(session: Session, hold: Hold) -> float:
    """Seconds that the attempt has taken; where its lease has lapsed, up to then: nobody worked afterwards."""
    taken = seconds_since(Attempt.started_at) - seconds_since(Job.lease_expires)
    query = select(taken).join(Job, Job.id == Attempt.job_id)
    key = (Attempt.job_id == hold.job_id, Attempt.number == hold.attempt, Job.lease_expires.is_not(None))
    return max(0.0, session.scalar(query.where(*key)) or 0.0)


def _close(session: Session, hold: Hold, status: Status, spent: float, reason: str, **more: Any) -> None:
    _of_attempt(session, hold, finished_at=now(), outcome=reason)
    # Whatever the status is now: the attempt has just left it.
    guarded_update(session, Job.id == hold.job_id, spent_seconds=Job.spent_seconds + spent)
    events.add_status(session, hold.job_id, hold.attempt, status, reason, **more)


def _of_attempt(session: Session, hold: Hold, **values: Any) -> None:
    """Change the attempt's own row."""
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == hold.job_id, Attempt.number == hold.attempt)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def _live_sources(to: Status) -> tuple[Status, ...]:
    return tuple(status for status in sources(to) if status in LIVE)


def _change(session: Session, hold: Hold, statuses: tuple[Status, ...], values: dict[str, Any]) -> bool:
    return guarded_update(
        session, Job.id == hold.job_id, Job.attempt == hold.attempt, Job.status.in_(statuses), **values
    )
