"""The job protocol: who holds a job, and every change of status that its worker makes.

A claim raises the attempt number. The number is the fencing token: each later write carries it and finds no row
once another attempt holds the job. A lease that lapses gives the job back.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db import events, outbox
from db.base import now
from db.errors import AttemptSuperseded
from db.guard import guarded_update
from db.status import LIVE, FailureCode, Status
from db.tables import Attempt, Job

#: Lapsed jobs taken up in one sweep.
SWEEP_LIMIT = 50
#: Seconds before a lost job's next attempt: doubled each time, up to the longest.
FIRST_BACKOFF, LONGEST_BACKOFF = 10.0, 600.0


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


def claim(session: Session, worker: str, lease_seconds: float) -> Hold | None:
    """Take the queued job of highest priority, the oldest first; none if there is none."""
    candidate = (
        select(Job.id)
        .where(Job.status == Status.QUEUED, Job.run_at <= now())
        .order_by(Job.priority.desc(), Job.run_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    claimed = session.execute(
        update(Job)
        .where(Job.id == candidate, Job.status == Status.QUEUED)
        .values(
            status=Status.STARTING,
            attempt=Job.attempt + 1,
            worker=worker,
            lease_expires=now(lease_seconds),
            reason=None,
            step=0,
            epoch=0,
            latest={},
            best={},
            started_at=now(),
            first_step_at=None,
        )
        .returning(Job.id, Job.attempt)
    ).first()
    if claimed is None:
        return None
    hold = Hold(job_id=claimed.id, attempt=claimed.attempt)
    session.add(Attempt(job_id=hold.job_id, number=hold.attempt, worker=worker, start_step=0, started_at=now()))
    outbox.remove(session, hold.job_id)
    events.add_status(session, hold.job_id, hold.attempt, Status.STARTING)
    return hold


def beat(session: Session, hold: Hold, lease_seconds: float) -> Status:
    """Extend the lease and learn what clients want.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    _update(session, hold, lease_expires=now(lease_seconds))
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


def record(session: Session, hold: Hold, **values: Any) -> None:
    """Set columns that are no status: progress, latest and best metrics, environment, data hash.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    _update(session, hold, **values)


def check(session: Session, hold: Hold) -> None:
    """Keep the job's row until the transaction ends.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    _update(session, hold, attempt=hold.attempt)


def begin(session: Session, hold: Hold) -> None:
    """The first optimizer step is done."""
    _update(session, hold, first_step_at=now())
    if _move(session, hold, Status.RUNNING, {}, only_from=(Status.STARTING,)):
        events.add_status(session, hold.job_id, hold.attempt, Status.RUNNING)


def succeed(session: Session, hold: Hold) -> None:
    """The job is done; this also holds where a cancel came too late."""
    _end(session, hold, Status.SUCCEEDED, "completed")


def cancelled(session: Session, hold: Hold) -> None:
    """The trainer has stopped for a cancel."""
    _end(session, hold, Status.CANCELLED, "cancelled")


def fail(session: Session, hold: Hold, failure: Failure) -> None:
    """The job cannot be completed, and trying again would only repeat it."""
    _end(
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
    """Hand the job back for another worker; not a lost attempt. A cancel that was asked for is honoured.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    check(session, hold)
    if _move(session, hold, Status.CANCELLED, _ended("cancelled"), only_from=(Status.CANCELLING,)):
        _close(session, hold, Status.CANCELLED, "cancelled")
    else:
        _requeue(session, hold, "released")


def lose(session: Session, hold: Hold, max_attempts: int, why: str) -> None:
    """An attempt is gone without a word: cancel if that was wanted, fail if tries are used up, else queue again.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    _update(session, hold, lost_attempts=Job.lost_attempts + 1)
    status, lost = session.execute(select(Job.status, Job.lost_attempts).where(Job.id == hold.job_id)).one()
    if status is Status.CANCELLING:
        _end(session, hold, Status.CANCELLED, "cancelled")
    elif lost >= max_attempts:
        failure = Failure(
            code=FailureCode.WORKER_LOST,
            message=f"{lost} attempts ended without a word; the last one: {why}.",
            hint="Look for a shortage of memory on the worker's machine, then submit the job again.",
        )
        fail(session, hold, failure)
    else:
        backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** (lost - 1))
        _requeue(session, hold, "worker_lost", backoff)


def sweep(session: Session, max_attempts: int) -> int:
    """Take back the jobs whose lease has lapsed; returns how many."""
    lapsed = session.execute(
        select(Job.id, Job.attempt)
        .where(Job.status.in_(LIVE), Job.lease_expires < now())
        .order_by(Job.lease_expires)
        .limit(SWEEP_LIMIT)
        .with_for_update(skip_locked=True)
    ).all()
    for job_id, attempt in lapsed:
        lose(session, Hold(job_id=job_id, attempt=attempt), max_attempts, "its lease lapsed")
    return len(lapsed)


def _ended(reason: str) -> dict[str, Any]:
    return {"finished_at": now(), "lease_expires": None, "reason": reason}


def _end(session: Session, hold: Hold, status: Status, reason: str, **values: Any) -> None:
    if not _move(session, hold, status, _ended(reason) | values):
        raise AttemptSuperseded(hold.job_id, hold.attempt)
    _close(session, hold, status, reason)


def _requeue(session: Session, hold: Hold, reason: str, delay_seconds: float = 0.0) -> None:
    values = {"lease_expires": None, "reason": reason, "run_at": now(delay_seconds)}
    if not _move(session, hold, Status.QUEUED, values):
        raise AttemptSuperseded(hold.job_id, hold.attempt)
    outbox.add(session, hold.job_id)
    _close(session, hold, Status.QUEUED, reason)


def _close(session: Session, hold: Hold, status: Status, reason: str) -> None:
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == hold.job_id, Attempt.number == hold.attempt)
        .values(finished_at=now(), outcome=reason)
    )
    events.add_status(session, hold.job_id, hold.attempt, status, reason)


def _update(session: Session, hold: Hold, **values: Any) -> None:
    if not _change(session, hold, LIVE, values):
        raise AttemptSuperseded(hold.job_id, hold.attempt)


def _move(
    session: Session, hold: Hold, to: Status, values: dict[str, Any], only_from: tuple[Status, ...] = LIVE
) -> bool:
    return _change(session, hold, only_from, {"status": to, **values})


def _change(session: Session, hold: Hold, statuses: tuple[Status, ...], values: dict[str, Any]) -> bool:
    return guarded_update(
        session, Job.id == hold.job_id, Job.attempt == hold.attempt, Job.status.in_(statuses), **values
    )
