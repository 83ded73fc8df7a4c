"""Checkpoints: files that are safe in the store first, then the row that makes them the job's newest."""

import logging
import time

from sqlalchemy.orm import Session

from db import checkpoints, events, lease, leftovers
from db.checkpoints import WEIGHTS_FILES, ModelFile, Saved
from db.engine import Database
from db.errors import AttemptSuperseded, StorageFailed, StorageFull
from db.events import EventType
from db.lease import Hold
from db.spec.job import JobSpec
from db.store import Store, StoredFile
from worker import export
from worker.patience import patiently
from worker.snapshot import Snapshot

log = logging.getLogger(__name__)

#: Seconds between tries at a store that does not take a checkpoint that the run waits for.
TRY_EVERY = 2.0

#: What a job shows of its metrics: {metric: {"value": ..., "step": ...}}
Shown = dict[str, dict[str, float | int | str]]


class Saver:
    """Saves the states of one attempt, under its fence."""

    def __init__(
        self, database: Database, store: Store, hold: Hold, spec: JobSpec, patience_seconds: float
    ) -> None:
        self._patience_seconds = patience_seconds
        self._database = database
        self._store = store
        self._hold = hold
        self._spec = spec
        self._told_of: str | None = None

    def save(self, snapshot: Snapshot, latest: Shown, best: Shown) -> bool:
        """Make a state the job's newest checkpoint, then forget those that need not stay; whether it is saved.

        A store that does not take it leaves the checkpoints before untouched. The run goes on without one that it
        does not wait for; for another it waits a while.

        Raises:
            AttemptSuperseded: another attempt holds the job; nothing of the state stays in the store.
            StorageFull: there is no room for a state that the run waits for.
            StorageFailed: the store does not take it.
        """
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                saved = self._put(snapshot, latest, best)
                break
            except (StorageFull, StorageFailed) as error:
                self._tell(snapshot.step, error)
                if not snapshot.required:
                    return False
                if time.monotonic() > deadline:
                    raise
                time.sleep(min(TRY_EVERY, self._patience_seconds / 10))
        self._told_of = None
        self._commit(saved)
        return True

    def _put(self, snapshot: Snapshot, latest: Shown, best: Shown) -> Saved:
        """Write the files, all of them or none."""
        folder = f"jobs/{self._hold.job_id}/attempt-{self._hold.attempt}/step-{snapshot.step}"
        made = [
            ("safetensors", WEIGHTS_FILES["raw"], export.model_bytes(snapshot.weights)),
            ("config", "config.json", export.config_bytes(self._spec)),
            ("modeling", "modeling.py", export.modeling_bytes()),
        ]
        if snapshot.averaged is not None:
            made.append(("safetensors", WEIGHTS_FILES["ema"], export.model_bytes(snapshot.averaged)))
        stored: list[StoredFile] = []
        try:
            for _, filename, data in [*made, ("state", "state.pt", export.state_bytes(snapshot))]:
                stored.append(self._store.put(f"{folder}/{filename}", data))
        except (StorageFull, StorageFailed):
            leftovers.remove(self._database, self._store, [file.key for file in stored])
            raise
        *files, state = stored
        return Saved(
            step=snapshot.step,
            epoch=snapshot.epoch,
            state=state,
            files=[
                ModelFile(format=format, filename=filename, stored=file)
                for (format, filename, _), file in zip(made, files, strict=True)
            ],
            latest=latest,
            best=best,
            score=snapshot.score,
        )

    def _commit(self, saved: Saved) -> None:
        try:
            patiently(self._database, lambda session: checkpoints.commit(session, self._hold, saved))
        except AttemptSuperseded:
            keys = [saved.state.key, *(file.stored.key for file in saved.files)]
            leftovers.remove(self._database, self._store, keys)
            raise
        keep = self._spec.checkpoint
        # Only after the new one is safe, and the files only after nothing names them.
        gone = patiently(
            self._database, lambda session: checkpoints.prune(session, self._hold, keep.keep_last, keep.keep_best)
        )
        leftovers.remove(self._database, self._store, gone)

    def _tell(self, step: int, error: StorageFull | StorageFailed) -> None:
        """Say it once on the timeline, not at every try."""
        log.error("Job %s: the checkpoint of step %d is not saved: %s", self._hold.job_id, step, error)
        if self._told_of == error.code:
            return
        self._told_of = error.code

        def write(session: Session) -> None:
            lease.check(session, self._hold)
            events.add(
                session,
                self._hold.job_id,
                self._hold.attempt,
                EventType(error.code),
                step=step,
                message=str(error),
            )

        patiently(self._database, write)
