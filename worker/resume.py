"""Where an attempt begins: at the newest checkpoint of the job that is what was written, or at the beginning."""

import io
import logging
from collections.abc import Sequence

import torch
from safetensors.torch import load as load_safetensors
from sqlalchemy.orm import Session

from db import checkpoints, lease
from db.checkpoints import WEIGHTS_FILES, ModelFile
from db.engine import Database
from db.errors import FileDamaged, FileMissing, StorageFailed
from db.lease import Hold
from db.origins import BEGINNING
from db.store import Store
from db.tables import Checkpoint
from worker.errors import DataError
from worker.patience import patiently
from worker.snapshot import Snapshot

log = logging.getLogger(__name__)


def find_start(database: Database, store: Store, hold: Hold) -> tuple[Checkpoint | None, Snapshot | None]:
    """The newest whole checkpoint and its state, or neither; notes where the attempt starts.

    One that is damaged is marked as such and passed over.

    Raises:
        AttemptSuperseded: another attempt holds the job.
        StorageFailed: not one checkpoint has its files: rather the store is away than all of them.
        DataError: the job comes from another one's checkpoint, and that is damaged.
    """
    with database.read() as session:
        found = checkpoints.resumable(session, hold.job_id)
        files = {each.id: checkpoints.trained_files(session, each.id) for each in found}
    passed_over: list[tuple[Checkpoint, FileDamaged | FileMissing]] = []
    for checkpoint in found:
        try:
            saved = _load(store, checkpoint, files[checkpoint.id])
        except (FileDamaged, FileMissing) as error:
            log.error("Job %s: checkpoint of step %d: %s", hold.job_id, checkpoint.step, error)
            passed_over.append((checkpoint, error))
        else:
            _note(database, hold, checkpoint, passed_over)
            return checkpoint, saved
    if found and all(isinstance(error, FileMissing) for _, error in passed_over):
        raise StorageFailed("it has none of the files of the job's checkpoints")
    if any(checkpoint.attempt == BEGINNING for checkpoint in found):
        message = "The checkpoint that this job begins with is damaged."
        raise DataError(message, "Fork the other job again, or have the store restored and retry this one.")
    _note(database, hold, None, passed_over)
    return None, None


def _note(
    database: Database,
    hold: Hold,
    start: Checkpoint | None,
    passed_over: Sequence[tuple[Checkpoint, FileDamaged | FileMissing]],
) -> None:
    """Where the attempt starts, and what it could not go on from."""

    def write(session: Session) -> None:
        for checkpoint, error in passed_over:
            checkpoints.mark_damaged(session, hold, checkpoint.id, checkpoint.step, error.code)
        if start is None:
            lease.start_from(session, hold, 0, 0, latest={}, best={})
        else:
            lease.start_from(session, hold, start.step, start.epoch, latest=start.latest, best=start.best)

    patiently(database, write)


def _load(store: Store, checkpoint: Checkpoint, files: Sequence[ModelFile]) -> Snapshot:
    """The state of a checkpoint.

    Raises:
        FileMissing: the store has not all of it any more.
        FileDamaged: a file is not what was written.
    """
    state = store.get_verified(checkpoints.state_file(checkpoint, files))
    weights = {
        file.filename: load_safetensors(store.get_verified(file.stored))
        for file in files
        if file.format == "safetensors"
    }
    return Snapshot(
        step=checkpoint.step,
        epoch=checkpoint.epoch,
        weights=weights[WEIGHTS_FILES["raw"]],
        averaged=weights.get(WEIGHTS_FILES["ema"]),
        # What was read is what was hashed, and holds tensors and plain values only.
        state=torch.load(io.BytesIO(state), map_location="cpu", weights_only=True),
    )
