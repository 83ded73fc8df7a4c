"""Checkpoints and their artifacts: committed under the fence, pruned to the newest few."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from db import events, lease
from db.base import now
from db.errors import ArtifactFailed, ArtifactPending, NoAveragedWeights, NoModelYet, NotFound
from db.ids import is_id, new_id
from db.lease import Hold
from db.status import ArtifactSource, ArtifactStatus
from db.store import StoredFile
from db.tables import Artifact, Checkpoint, Job

MEDIA_TYPES = {
    "safetensors": "application/octet-stream",
    "config": "application/json",
    "modeling": "text/x-python",
}

#: Those that were trained, and their averages.
Weights = Literal["raw", "ema"]
#: The files of a checkpoint that have the format `safetensors`.
WEIGHTS_FILES: dict[Weights, str] = {"raw": "model.safetensors", "ema": "model-ema.safetensors"}


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
                source=ArtifactSource.TRAINING,
                status=ArtifactStatus.READY,
                attempt=0,
                lost_attempts=0,
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
    rows = session.execute(select(Artifact.store_key, Artifact.inputs_key).where(Artifact.checkpoint_id.in_(ids)))
    keys += [key for row in rows for key in row if key is not None]
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


def stored_file(artifact: Artifact) -> StoredFile:
    """Where the file lies, and what it holds.

    Raises:
        ArtifactPending: it is still being made.
        ArtifactFailed: it could not be made.
    """
    if artifact.status is ArtifactStatus.FAILED:
        raise ArtifactFailed(artifact.id)
    if artifact.store_key is None or artifact.sha256 is None or artifact.size_bytes is None:
        raise ArtifactPending(artifact.id)
    return StoredFile(key=artifact.store_key, sha256=artifact.sha256, size_bytes=artifact.size_bytes)


def model(session: Session, job: Job, format: str, weights: Weights = "raw") -> Artifact:
    """The file of the newest checkpoint in a format; `weights` says which of the two with format `safetensors`.

    Raises:
        NoModelYet: the job has no checkpoint.
        NoAveragedWeights: it has, but no averages are wanted of its weights.
    """
    newest = list_for(session, job.id)
    if not newest:
        raise NoModelYet(job.id, job.status.value)
    query = select(Artifact).where(
        Artifact.checkpoint_id == newest[0].id,
        Artifact.format == format,
        Artifact.source == ArtifactSource.TRAINING,
    )
    if format == "safetensors":
        query = query.where(Artifact.filename == WEIGHTS_FILES[weights])
    found = session.scalars(query).one_or_none()
    if found is None:
        raise NoAveragedWeights(job.id)
    return found
