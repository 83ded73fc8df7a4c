"""Where an attempt begins: at the newest checkpoint of the job that is what was written, or at the beginning."""

import io
import logging
from collections.abc import Sequence

import torch
from safetensors.torch import load as load_safetensors

from db import checkpoints, lease
from db.checkpoints import WEIGHTS_FILES, ModelFile
from db.engine import Database
from db.errors import FileDamaged, FileMissing
from db.lease import Hold
from db.store import Store
from db.tables import Checkpoint
from worker.snapshot import Snapshot

log = logging.getLogger(__name__)


def find_start(database: Database, store: Store, hold: Hold) -> tuple[Checkpoint | None, Snapshot | None]:
    """The newest whole checkpoint and its state, or neither; notes where the attempt starts.

    One that is damaged is marked as such and passed over.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    with database.read() as session:
        found = checkpoints.resumable(session, hold.job_id)
        files = {each.id: checkpoints.trained_files(session, each.id) for each in found}
    for checkpoint in found:
        try:
            saved = _load(store, checkpoint, files[checkpoint.id])
        except (FileDamaged, FileMissing) as error:
            log.error("Job %s: checkpoint of step %d: %s", hold.job_id, checkpoint.step, error)
            with database.write() as session:
                checkpoints.mark_damaged(session, hold, checkpoint.id, checkpoint.step, error.code)
            continue
        with database.write() as session:
            shown = {"latest": checkpoint.latest, "best": checkpoint.best}
            lease.start_from(session, hold, checkpoint.step, checkpoint.epoch, **shown)
        return checkpoint, saved
    with database.write() as session:
        lease.start_from(session, hold, 0, 0, latest={}, best={})
    return None, None


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
