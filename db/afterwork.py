"""Work after a job: files that are still to be made, and who makes them.

As with jobs, a claim raises the attempt number, which fences every later write of the attempt, and a lease that
lapses gives the work back. A pending file without a lease waits for a worker.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from db.base import now
from db.errors import WorkSuperseded
from db.lease import Failure
from db.status import ArtifactStatus, FailureCode
from db.store import StoredFile
from db.tables import Artifact

#: Lapsed work taken up in one sweep.
SWEEP_LIMIT = 50


@dataclass(frozen=True, kw_only=True)
class WorkHold:
    """A worker's hold of a file that it makes: what every write of the attempt is checked against."""

    artifact_id: str
    attempt: int


def is_due(session: Session) -> bool:
    """Whether there is something to claim or to sweep; cheap enough to ask every second."""
    free = or_(Artifact.lease_expires.is_(None), Artifact.lease_expires < now())
    query = select(Artifact.id).where(Artifact.status == ArtifactStatus.PENDING, free).limit(1)
    return session.scalar(query) is not None


def claim(session: Session, lease_seconds: float) -> WorkHold | None:
    """Take the oldest work that nobody holds; none if there is none."""
    candidate = (
        select(Artifact.id)
        .where(Artifact.status == ArtifactStatus.PENDING, Artifact.lease_expires.is_(None))
        .order_by(Artifact.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    claimed = session.execute(
        update(Artifact)
        .where(Artifact.id == candidate, Artifact.lease_expires.is_(None))
        .values(attempt=Artifact.attempt + 1, lease_expires=now(lease_seconds))
        .returning(Artifact.id, Artifact.attempt)
    ).first()
    return None if claimed is None else WorkHold(artifact_id=claimed.id, attempt=claimed.attempt)


def beat(session: Session, hold: WorkHold, lease_seconds: float) -> None:
    """Extend the lease.

    Raises:
        WorkSuperseded: another attempt holds the work, or it has ended.
    """
    _update(session, hold, lease_expires=now(lease_seconds))


def finish(session: Session, hold: WorkHold, stored: StoredFile, result: dict[str, Any]) -> list[str]:
    """The file is in the store; returns the keys of what is needed no more.

    Raises:
        WorkSuperseded: another attempt holds the work, or it has ended.
    """
    return _end(
        session,
        hold,
        status=ArtifactStatus.READY,
        store_key=stored.key,
        sha256=stored.sha256,
        size_bytes=stored.size_bytes,
        result=result,
    )


def fail(session: Session, hold: WorkHold, failure: Failure) -> list[str]:
    """The file cannot be made, and trying again would only repeat it; returns the keys of what is needed no more.

    Raises:
        WorkSuperseded: another attempt holds the work, or it has ended.
    """
    shown = {"code": failure.code.value, "message": failure.message, "hint": failure.hint}
    return _end(session, hold, status=ArtifactStatus.FAILED, failure=shown)


def release(session: Session, hold: WorkHold) -> None:
    """Hand the work back for another worker; not a lost attempt.

    Raises:
        WorkSuperseded: another attempt holds the work, or it has ended.
    """
    _update(session, hold, lease_expires=None)


def lose(session: Session, hold: WorkHold, max_attempts: int, why: str) -> list[str]:
    """An attempt is gone without a word: fail if tries are used up, else wait for a worker again.

    Returns the keys of what is needed no more.

    Raises:
        WorkSuperseded: another attempt holds the work, or it has ended.
    """
    _update(session, hold, lost_attempts=Artifact.lost_attempts + 1)
    lost = session.execute(select(Artifact.lost_attempts).where(Artifact.id == hold.artifact_id)).scalar_one()
    if lost < max_attempts:
        release(session, hold)
        return []
    failure = Failure(
        code=FailureCode.WORKER_LOST,
        message=f"{lost} attempts ended without a word; the last one: {why}.",
        hint="Look for a shortage of memory on the worker's machine, then ask for the file again.",
    )
    return fail(session, hold, failure)


def sweep(session: Session, max_attempts: int) -> list[str]:
    """Take back the work whose lease has lapsed; returns the keys of what is needed no more."""
    lapsed = session.execute(
        select(Artifact.id, Artifact.attempt)
        .where(Artifact.status == ArtifactStatus.PENDING, Artifact.lease_expires < now())
        .order_by(Artifact.id)
        .limit(SWEEP_LIMIT)
        .with_for_update(skip_locked=True)
    ).all()
    holds = [WorkHold(artifact_id=artifact_id, attempt=attempt) for artifact_id, attempt in lapsed]
    return [key for hold in holds for key in lose(session, hold, max_attempts, "its lease lapsed")]


def _end(session: Session, hold: WorkHold, **values: Any) -> list[str]:
    inputs_key = session.scalar(select(Artifact.inputs_key).where(Artifact.id == hold.artifact_id))
    _update(session, hold, lease_expires=None, inputs_key=None, finished_at=now(), **values)
    return [] if inputs_key is None else [inputs_key]


def _update(session: Session, hold: WorkHold, **values: Any) -> None:
    changed = session.execute(
        update(Artifact)
        .where(
            Artifact.id == hold.artifact_id,
            Artifact.attempt == hold.attempt,
            Artifact.lease_expires.is_not(None),
        )
        .values(**values)
        .returning(Artifact.id)
        .execution_options(synchronize_session=False)
    ).first()
    if changed is None:
        raise WorkSuperseded(hold.artifact_id, hold.attempt)
