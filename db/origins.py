"""Jobs that come from another: forks, which go on from one of its checkpoints, and reproductions of it."""

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import checkpoints, events, jobs
from db.base import now
from db.checkpoints import Saved
from db.errors import TransitionRefused
from db.events import EventType
from db.guard import guarded_update
from db.lease import Hold
from db.spec.job import JobSpec
from db.status import Status
from db.store import Store, StoredFile
from db.tables import Attempt, Checkpoint, Job

FORK, REPRODUCTION = "fork", "reproduction"
#: The number of the attempt that holds what a job begins with.
BEGINNING = 0


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a job comes from, as its row tells it, and the state that it begins with, if it is not nothing."""

    told: dict[str, Any]
    saved: Saved | None = None


def of_fork(session: Session, job: Job, which: str) -> Origin:
    """Begin with a checkpoint of the job: `last`, `best`, or that of a step.

    Raises:
        NoModelYet: it has no such checkpoint.
    """
    checkpoint = checkpoints.choose(session, job, which, to_go_on=True)
    told = {"kind": FORK, "job": job.id, "checkpoint": checkpoint.id, "step": checkpoint.step}
    return Origin(told=told, saved=_saved(session, checkpoint))


def of_reproduction(session: Session, job: Job) -> Origin:
    """Begin as the job began. The weights that it ended with are what the new one's are compared with.

    Raises:
        TransitionRefused: the job has not succeeded.
        NoModelYet: its last checkpoint is damaged.
    """
    if job.status is not Status.SUCCEEDED:
        raise TransitionRefused("be reproduced", job.status.value, [Status.SUCCEEDED.value])
    last = checkpoints.model(session, job, "safetensors", which=str(job.step))
    told = {"kind": REPRODUCTION, "job": job.id, "step": job.step, "expected_sha256": last.sha256}
    query = select(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.attempt == BEGINNING)
    first = session.scalars(query).one_or_none()
    return Origin(told=told, saved=None if first is None else _saved(session, first))


def copied(origin: Origin, store: Store, job_id: str) -> Origin:
    """The same with files of the new job's own: whatever becomes of the old one, they stay.

    Raises:
        FileMissing: the checkpoint has just been replaced by a newer one.
        StorageFull: there is no room for the copies; none of them is left.
    """
    saved = origin.saved
    if saved is None:
        return origin
    folder = f"jobs/{job_id}/attempt-{BEGINNING}/step-{saved.step}"
    made: list[str] = []

    def copy(file: StoredFile, name: str) -> StoredFile:
        key = f"{folder}/{name}"
        store.copy(file.key, key)
        made.append(key)
        return replace(file, key=key)

    try:
        files = [replace(file, stored=copy(file.stored, file.filename)) for file in saved.files]
        state = copy(saved.state, "state.pt")
    except Exception:
        store.delete(made)
        raise
    return replace(origin, saved=replace(saved, state=state, files=files))


def keys(origin: Origin) -> list[str]:
    """The store keys of what the job begins with."""
    saved = origin.saved
    return [] if saved is None else [saved.state.key, *(file.stored.key for file in saved.files)]


def create(session: Session, job_id: str, spec: JobSpec, origin: Origin) -> Job:
    """Store a queued job that comes from another; the files of its origin are its own."""
    job = jobs.create(session, spec, id=job_id, origin=origin.told)
    events.add(session, job.id, BEGINNING, EventType.CREATED_FROM, **origin.told)
    if origin.saved is not None:
        beginning = Hold(job_id=job.id, attempt=BEGINNING)
        values = {"worker": "", "start_step": 0, "started_at": now(), "finished_at": now()}
        session.add(Attempt(job_id=job.id, number=BEGINNING, outcome=origin.told["kind"], **values))
        session.flush()
        checkpoints.add(session, beginning, origin.saved)
        guarded_update(session, Job.id == job.id, step=origin.saved.step, epoch=origin.saved.epoch)
    session.refresh(job)
    return job


def compare(session: Session, hold: Hold) -> None:
    """Say of a reproduction that has made its last step whether its weights are those of the original."""
    job = session.get_one(Job, hold.job_id, populate_existing=True)
    told = job.origin
    if told is None or told["kind"] != REPRODUCTION:
        return
    own = checkpoints.model(session, job, "safetensors")
    original = session.get(Job, told["job"])
    found = {
        "sha256": own.sha256,
        "identical": own.sha256 == told["expected_sha256"] and own.step == told["step"],
        # Null where the original is deleted.
        "differences": None if original is None else _differences(original, job),
    }
    guarded_update(session, Job.id == job.id, origin={**told, **found})
    events.add(session, hold.job_id, hold.attempt, EventType.REPRODUCED, **told, **found)


def _differences(original: Job, job: Job) -> dict[str, list[Any]]:
    """What the two ran on, where that is not the same: [theirs, ours]."""
    one, other = ({"dataset_hash": each.dataset_hash, **(each.environment or {})} for each in (original, job))
    return {name: [one.get(name), other.get(name)] for name in one | other if one.get(name) != other.get(name)}


def _saved(session: Session, checkpoint: Checkpoint) -> Saved:
    """What a job that begins with the checkpoint has of it; it has recorded nothing yet itself."""
    files = checkpoints.trained_files(session, checkpoint.id)
    return Saved(
        step=checkpoint.step,
        epoch=checkpoint.epoch,
        state=checkpoints.state_file(checkpoint, files),
        files=files,
        latest={},
        best={},
        score=None,
    )
