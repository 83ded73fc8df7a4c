"""Jobs whose attempt came to nothing: tried again, or given up."""

import logging
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import lease
from db.base import now
from db.lease import Failure, Hold
from db.status import LIVE, REPEATS, FailureCode, Status
from db.tables import Job

log = logging.getLogger(__name__)

#: Lapsed jobs taken up in one sweep.
SWEEP_LIMIT = 50
#: The longest wait before a next attempt, in seconds.
LONGEST_BACKOFF = 600.0


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often, and after how long, a job is tried again. Both begin anew with each new checkpoint."""

    max_attempts: int = 3
    #: Before the second attempt; doubled each time.
    backoff_seconds: float = 10.0


def lost(why: str) -> Failure:
    """What is known of an attempt that ended without a word."""
    return Failure(
        code=FailureCode.WORKER_LOST,
        message=f"The attempt ended without a word: {why}.",
        hint="Look into the worker's log, and for a shortage of memory on its machine, then retry the job: it "
        "goes on from its newest checkpoint.",
    )


def out_of_time(max_runtime_seconds: float) -> Failure:
    """The job has used up its time."""
    return Failure(
        code=FailureCode.MAX_RUNTIME,
        message=f"All attempts together have taken max_runtime_seconds, {max_runtime_seconds:g} s.",
        hint="Its newest checkpoint is kept: retry the job to give it as much time again, or fork it with a "
        "larger max_runtime_seconds.",
    )


def is_tried_again(session: Session, hold: Hold, failure: Failure, retries: Retries) -> bool:
    """Whether the job goes back to the queue when this attempt fails so.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    lease.check(session, hold)
    status, lost_attempts = session.execute(
        select(Job.status, Job.lost_attempts).where(Job.id == hold.job_id)
    ).one()
    wanted = status in (Status.STARTING, Status.RUNNING)
    return wanted and failure.code not in REPEATS and lost_attempts + 1 < retries.max_attempts


def give_up_or_retry(session: Session, hold: Hold, failure: Failure, retries: Retries) -> None:
    """End an attempt that failed: what a client asked for is honoured, what would only repeat fails at once.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    again = is_tried_again(session, hold, failure, retries)
    if failure.code in REPEATS:
        lease.fail(session, hold, failure)
        return
    lease.record(session, hold, lost_attempts=Job.lost_attempts + 1)
    if lease.honour(session, hold, message=failure.message):
        return
    tries = session.execute(select(Job.lost_attempts).where(Job.id == hold.job_id)).scalar_one()
    if again:
        wait = min(LONGEST_BACKOFF, retries.backoff_seconds * 2 ** min(tries - 1, 32))
        more = {"message": failure.message, "retry_in_seconds": wait, "tries": tries}
        lease.requeue(session, hold, failure.code.value, wait, **more)
    else:
        if tries > 1:
            message = f"{tries} attempts failed without a new checkpoint between them. The last one: "
            failure = replace(failure, message=message + failure.message)
        lease.fail(session, hold, failure)


def sweep(session: Session, retries: Retries) -> int:
    """Take back the jobs whose lease has lapsed; returns how many."""
    lapsed = session.execute(
        select(Job.id, Job.attempt)
        .where(Job.status.in_(LIVE), Job.lease_expires < now())
        .order_by(Job.lease_expires)
        .limit(SWEEP_LIMIT)
        .with_for_update(skip_locked=True)
    ).all()
    for job_id, attempt in lapsed:
        try:
            with session.begin_nested():
                give_up_or_retry(session, Hold(job_id=job_id, attempt=attempt), lost("its lease lapsed"), retries)
        except Exception:  # one job that cannot be taken back must not keep the others
            log.exception("Job %s could not be taken back.", job_id)
    return len(lapsed)
