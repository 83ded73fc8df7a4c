"""One file of work after a job, made in its own process: read, recalibrated, stored, and its end written."""

import io
import logging
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from safetensors.torch import load, save
from sqlalchemy.orm import Session

from db import afterwork, checkpoints, jobs, leftovers, recalibrations
from db.afterwork import WorkHold
from db.engine import Database
from db.errors import FileDamaged, FileMissing, StorageFailed, StorageFull, WorkSuperseded
from db.logs import set_up_logging
from db.settings import WorkerSettings
from db.spec.job import JobSpec
from db.spec.recalibration import Recalibration
from db.status import FailureCode
from db.store import Store
from db.tables import Artifact, Job
from worker.errors import DataError
from worker.patience import patiently
from worker.recalibrate import Inputs, recalibrate
from worker.run import explain, load_data

log = logging.getLogger(__name__)

#: Writes how an attempt ended; returns the keys of what is needed no more.
End = Callable[[Session, WorkHold], list[str]]


def run_work(settings: WorkerSettings, hold: WorkHold) -> None:
    """Make the file of `hold` and write how that ended, unless another attempt holds it by then."""
    set_up_logging()
    # Beside training: one core is what the jobs lose, and the result does not depend on how many there are.
    torch.set_num_threads(1)
    database, store = Database(settings.database_url), Store(settings.store_url)
    key = f"recalibrations/{hold.artifact_id}/attempt-{hold.attempt}/model.safetensors"
    try:
        with database.read() as session:
            artifact = checkpoints.artifact(session, hold.artifact_id)
            original = recalibrations.original_of(session, artifact)
            job = jobs.get(session, artifact.job_id)
        end = _make(settings, store, job, artifact, original, key)
        store.delete(patiently(database, lambda session: end(session, hold)))
    except WorkSuperseded as superseded:
        log.warning("%s", superseded)
        leftovers.remove(database, store, [key])
    finally:
        database.dispose()


def _make(
    settings: WorkerSettings, store: Store, job: Job, artifact: Artifact, original: Artifact, key: str
) -> End:
    """Put the file into the store; returns how to write the end."""
    try:
        started = time.monotonic()
        spec = JobSpec.model_validate(job.resolved)
        made = recalibrate(
            spec,
            Recalibration.model_validate(artifact.request),
            load(_verified(store, original)),
            load_data(settings, spec.dataset.info, spec.dataset.binarize),
            _inputs_of(store, artifact),
        )
        stored = store.put(key, save(made.weights))
        result = made.result | {"seconds": time.monotonic() - started}
    except Exception as error:
        failure = explain(error)
        if isinstance(error, StorageFull | StorageFailed):
            failure = replace(failure, hint="Make room in the store, or mend it, then ask for the file again.")
        if failure.code is FailureCode.INTERNAL_ERROR:
            log.exception("Job %s: artifact %s could not be made.", job.id, artifact.id)
        return lambda session, hold: afterwork.fail(session, hold, failure)
    return lambda session, hold: afterwork.finish(session, hold, stored, result)


def _verified(store: Store, original: Artifact) -> bytes:
    """The weights as they were saved.

    Raises:
        DataError: the store has them no more, or has something else.
    """
    hint = "Train again, or have the store restored."
    try:
        return store.get_verified(checkpoints.stored_file(original))
    except (FileMissing, FileDamaged) as error:
        raise DataError(str(error), hint) from error


def _inputs_of(store: Store, artifact: Artifact) -> Inputs | None:
    if artifact.inputs_key is None:
        return None
    inputs: Inputs = np.load(io.BytesIO(store.get(artifact.inputs_key)), allow_pickle=False)
    return inputs
