"""Checkpoints and their artifacts: committed under the fence, pruned to the newest few and the best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from db import events, lease
from db.base import now
from db.errors import ArtifactFailed, ArtifactPending, NoAveragedWeights, NoModelYet, NotFound
from db.events import EventType
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


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A state of a run as it lies in the store, and what the job shows as of it."""

    step: int
    epoch: int
    state: StoredFile
    files: Sequence[ModelFile]
    latest: dict[str, Any]
    best: dict[str, Any]
    #: By which the job selects, the greater the better; none where the step was not evaluated.
    score: float | None = None


def commit(session: Session, hold: Hold, saved: Saved) -> str:
    """Make a saved state the job's newest checkpoint; its files must be in the store already.

    A commit whose answer was lost may be made again.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    # Progress: the tries that may fail count from here.
    lease.record(session, hold, lost_attempts=0)
    key = (Checkpoint.attempt == hold.attempt, Checkpoint.step == saved.step)
    known = session.scalar(select(Checkpoint.id).where(Checkpoint.job_id == hold.job_id, *key))
    if known is not None:
        return known
    checkpoint_id = add(session, hold, saved)
    events.add(session, hold.job_id, hold.attempt, EventType.CHECKPOINT, step=saved.step, id=checkpoint_id)
    return checkpoint_id


def add(session: Session, hold: Hold, saved: Saved) -> str:
    """The rows of a checkpoint and of its files; returns its id."""
    checkpoint = Checkpoint(
        id=new_id("ckpt"),
        job_id=hold.job_id,
        attempt=hold.attempt,
        step=saved.step,
        state_key=saved.state.key,
        state_sha256=saved.state.sha256,
        size_bytes=saved.state.size_bytes + sum(file.stored.size_bytes for file in saved.files),
        epoch=saved.epoch,
        latest=saved.latest,
        best=saved.best,
        score=saved.score,
        is_resumable=True,
        created_at=now(),
    )
    session.add(checkpoint)
    session.flush()
    session.add_all(_artifact(checkpoint, file) for file in saved.files)
    session.flush()
    return checkpoint.id


def _artifact(checkpoint: Checkpoint, file: ModelFile) -> Artifact:
    return Artifact(
        id=new_id("art"),
        job_id=checkpoint.job_id,
        checkpoint_id=checkpoint.id,
        format=file.format,
        filename=file.filename,
        source=ArtifactSource.TRAINING,
        status=ArtifactStatus.READY,
        attempt=0,
        lost_attempts=0,
        media_type=MEDIA_TYPES[file.format],
        step=checkpoint.step,
        store_key=file.stored.key,
        sha256=file.stored.sha256,
        size_bytes=file.stored.size_bytes,
        created_at=now(),
    )


def prune(session: Session, hold: Hold, keep_last: int, keep_best: int) -> list[str]:
    """Forget all but the newest checkpoints and the best; returns the store keys that nothing names any more.

    What a fork began with stays: it cannot be reproduced without. So does one that a client has had recalibrated.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    lease.check(session, hold)
    found = list_for(session, hold.job_id)
    whole = [each for each in found if each.damaged_at is None]
    stay = {*whole[:keep_last], *by_score(whole)[:keep_best], *(each for each in found if each.attempt == 0)}
    recalibrated = _recalibrated(session, hold.job_id)
    gone = [each.id for each in found if each not in stay and each.id not in recalibrated]
    keys = _keys(session, Checkpoint.id.in_(gone))
    session.execute(delete(Checkpoint).where(Checkpoint.id.in_(gone)))
    return keys


def _recalibrated(session: Session, job_id: str) -> set[str]:
    """The checkpoints of which clients have had files made."""
    made = (Artifact.job_id == job_id, Artifact.source == ArtifactSource.RECALIBRATION)
    return set(session.scalars(select(Artifact.checkpoint_id).where(*made)))


def by_score(found: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The best first; of equals the older one, which was there first."""
    scored = [(-each.score, each.step, each) for each in found if each.score is not None]
    return [each for *_, each in sorted(scored, key=lambda row: row[:2])]


def keys_of_job(session: Session, job_id: str) -> list[str]:
    """The store keys of everything that a job has."""
    return _keys(session, Checkpoint.job_id == job_id)


def _keys(session: Session, which: ColumnElement[bool]) -> list[str]:
    states = session.scalars(select(Checkpoint.state_key).where(which))
    files = session.execute(
        select(Artifact.store_key, Artifact.inputs_key)
        .join(Checkpoint, Checkpoint.id == Artifact.checkpoint_id)
        .where(which)
    )
    return [*states, *(key for row in files for key in row if key is not None)]


def resumable(session: Session, job_id: str) -> Sequence[Checkpoint]:
    """The checkpoints that an attempt may go on from, the newest first."""
    return [each for each in _whole(session, job_id) if each.is_resumable]


def _whole(session: Session, job_id: str) -> list[Checkpoint]:
    return [each for each in list_for(session, job_id) if each.damaged_at is None]


def trained_files(session: Session, checkpoint_id: str) -> list[ModelFile]:
    """The files of a checkpoint that training has made."""
    query = select(Artifact).where(
        Artifact.checkpoint_id == checkpoint_id, Artifact.source == ArtifactSource.TRAINING
    )
    return [
        ModelFile(format=file.format, filename=file.filename, stored=stored_file(file))
        for file in session.scalars(query)
    ]


def state_file(checkpoint: Checkpoint, files: Sequence[ModelFile]) -> StoredFile:
    """What a checkpoint holds besides its model files."""
    size = checkpoint.size_bytes - sum(file.stored.size_bytes for file in files)
    return StoredFile(key=checkpoint.state_key, sha256=checkpoint.state_sha256, size_bytes=size)


def mark_damaged(session: Session, hold: Hold, checkpoint_id: str, step: int, why: str) -> None:
    """A file of a checkpoint is not what was written: no attempt goes on from it any more.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    lease.check(session, hold)
    known = (Checkpoint.id == checkpoint_id, Checkpoint.damaged_at.is_(None))
    marked = session.execute(update(Checkpoint).where(*known).values(damaged_at=now()).returning(Checkpoint.id))
    if marked.first() is None:  # where the answer to a commit was lost, it is made again
        return
    data = {"id": checkpoint_id, "step": step, "message": why}
    events.add(session, hold.job_id, hold.attempt, EventType.CHECKPOINT_DAMAGED, **data)


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


def choose(session: Session, job: Job, which: str = "last", *, to_go_on: bool = False) -> Checkpoint:
    """A checkpoint of the job: `last`, `best`, or that of a step. Damaged ones do not count.

    With `to_go_on` those of an older version do not either: they have a model, but not all that training on needs.

    Raises:
        NoModelYet: the job has no such checkpoint.
    """
    whole = resumable(session, job.id) if to_go_on else _whole(session, job.id)
    match which:
        case "last":
            found = whole
        case "best":
            found = by_score(whole)
        case _:
            found = [each for each in whole if str(each.step) == which]
    if not found:
        raise NoModelYet(job.id, job.status.value, which, sorted({each.step for each in whole}))
    return found[0]


def model(session: Session, job: Job, format: str, weights: Weights = "raw", which: str = "last") -> Artifact:
    """The file of a checkpoint in a format; `weights` says which of the two with format `safetensors`.

    Raises:
        NoModelYet: the job has no such checkpoint.
        NoAveragedWeights: it has, but no averages are wanted of its weights.
    """
    query = select(Artifact).where(
        Artifact.checkpoint_id == choose(session, job, which).id,
        Artifact.format == format,
        Artifact.source == ArtifactSource.TRAINING,
    )
    if format == "safetensors":
        query = query.where(Artifact.filename == WEIGHTS_FILES[weights])
    found = session.scalars(query).one_or_none()
    if found is None:
        raise NoAveragedWeights(job.id)
    return found
