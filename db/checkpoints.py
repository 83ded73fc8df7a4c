"""Checkpoints and their artifacts: committed under the fence, pruned to the newest few."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from db import events, lease
from db.base import now
from db.errors import NoModelYet, NotFound
from db.ids import is_id, new_id
from db.lease import Hold
from db.store import StoredFile
from db.tables import Artifact, Checkpoint, Job

MEDIA_TYPES = {
    "safetensors": "application/octet-stream",
    "config": "application/json",
    "modeling": "text/x-python",
}


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A file of a saved model that clients may download."""

    format: str
    filename: str
    stored: StoredFile


def commit(session: Session, hold: Hold, step: int, state: StoredFile, files: Sequence[ModelFile]) -> str:
    """Make a saved state the job's newest checkpoint; its files must be in the store already.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    lease.check(session, hold)
    checkpoint = Checkpoint(
        id=new_id("ckpt"),
        job_id=hold.job_id,
        attempt=hold.attempt,
        step=step,
        state_key=state.key,
        state_sha256=state.sha256,
        size_bytes=state.size_bytes + sum(file.stored.size_bytes for file in files),
        created_at=now(),
    )
    session.add(checkpoint)
    session.flush()
    for file in files:
        session.add(
            Artifact(
                id=new_id("art"),
                job_id=hold.job_id,
                checkpoint_id=checkpoint.id,
                format=file.format,
                filename=file.filename,
                media_type=MEDIA_TYPES[file.format],
                step=step,
                store_key=file.stored.key,
                sha256=file.stored.sha256,
                size_bytes=file.stored.size_bytes,
                created_at=now(),
            )
        )
    events.add(session, hold.job_id, hold.attempt, "checkpoint", step=step, id=checkpoint.id)
    return checkpoint.id


def prune(session: Session, hold: Hold, keep_last: int) -> list[str]:
    """Forget all but the newest checkpoints of the job; returns the store keys that nothing names any more.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    lease.check(session, hold)
    old = list_for(session, hold.job_id)[keep_last:]
    ids = [checkpoint.id for checkpoint in old]
    keys = [checkpoint.state_key for checkpoint in old]
    keys += session.scalars(select(Artifact.store_key).where(Artifact.checkpoint_id.in_(ids)))
    session.execute(delete(Checkpoint).where(Checkpoint.id.in_(ids)))
    return keys


def list_for(session: Session, job_id: str) -> Sequence[Checkpoint]:
    """The job's checkpoints, the newest first."""
    query = select(Checkpoint).where(Checkpoint.job_id == job_id)
    return session.scalars(query.order_by(Checkpoint.attempt.desc(), Checkpoint.step.desc())).all()


def artifacts(session: Session, job_id: str) -> Sequence[Artifact]:
    """The job's files, the newest first."""
    return session.scalars(select(Artifact).where(Artifact.job_id == job_id).order_by(Artifact.id.desc())).all()


def artifact(session: Session, artifact_id: str) -> Artifact:
    """The file.

    Raises:
        NotFound: there is none with this id.
    """
    found = session.get(Artifact, artifact_id) if is_id("art", artifact_id) else None
    if found is None:
        raise NotFound("artifact", artifact_id)
    return found


def model(session: Session, job: Job, format: str) -> Artifact:
    """The file of the newest checkpoint in a format.

    Raises:
        NoModelYet: the job has no checkpoint.
    """
    newest = list_for(session, job.id)
    if not newest:
        raise NoModelYet(job.id, job.status.value)
    return session.scalars(
        select(Artifact).where(Artifact.checkpoint_id == newest[0].id, Artifact.format == format)
    ).one()
