"""One attempt in its own process: everything is built from the spec, trained, and its end is written."""

import logging
from functools import partial
from typing import Any

import torch
from pydantic import ValidationError
from sqlalchemy.orm import Session

from db import events, jobs, lease, origins, recovery
from db.datasets import DATASETS, DatasetInfo, DatasetName
from db.engine import Database
from db.errors import AttemptSuperseded, StorageFailed, StorageFull
from db.events import EventType
from db.lease import Failure, Hold
from db.logs import set_up_logging
from db.origins import BEGINNING
from db.recovery import Retries
from db.settings import WorkerSettings
from db.spec.job import JobSpec
from db.status import FailureCode
from db.store import Store
from db.tables import Job
from worker.assembly import make_run, settings_of_parts
from worker.child import Orders
from worker.conclusion import End, with_diagnosis
from worker.data import cache
from worker.data.cache import CachedData
from worker.device import choose_device, describe
from worker.errors import TrainingError
from worker.narration import beginning, ending, say
from worker.patience import patiently
from worker.reporter import DatabaseReporter
from worker.resume import find_start
from worker.snapshot import Place, Snapshot, kept_parts, restore
from worker.stop import Stop
from worker.trainer import train

log = logging.getLogger(__name__)


def run_attempt(settings: WorkerSettings, hold: Hold, orders: Orders) -> None:
    """Train the job of `hold` and write how it ended, unless another attempt holds it by then."""
    set_up_logging()
    torch.set_num_threads(settings.threads_per_job)
    database = Database(settings.database_url)
    try:
        end = _train(settings, database, hold, orders)
        say(patiently(database, lambda session: _end(session, hold, end)))
    except AttemptSuperseded as superseded:
        log.warning("%s", superseded)
    finally:
        database.dispose()


def _end(session: Session, hold: Hold, end: End) -> str:
    """Write the end; returns what the attempt says of it."""
    end(session, hold)
    return ending(session.get_one(Job, hold.job_id, populate_existing=True))


def _train(settings: WorkerSettings, database: Database, hold: Hold, orders: Orders) -> End:
    """Train; returns how to write the end.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    try:
        with database.read() as session:
            spec = JobSpec.model_validate(jobs.get(session, hold.job_id).resolved)
        store = Store(settings.store_url)
        checkpoint, saved = find_start(database, store, hold)
        patience = settings.storage_patience_seconds
        reporter = DatabaseReporter(database, store, hold, spec, checkpoint, patience)
        try:
            device = choose_device(spec.device)
            cached = load_data(settings, spec.dataset.info, spec.dataset.binarize)
            environment = describe(device, spec.precision)
            reporter.environment(environment, cached.digest)
            forked = checkpoint is not None and checkpoint.attempt == BEGINNING
            run = make_run(spec, cached, device, begun=_begun(spec, saved, forked=forked))
            start = Place() if saved is None else restore(run, saved, forked=forked)
            say(beginning(hold.attempt, environment, start.step))
            stop = train(run, reporter, lambda: Stop.LOST if reporter.stopped.is_set() else orders.stop, start)
        finally:
            reporter.close()
    except AttemptSuperseded:
        raise
    except Exception as error:
        failure = explain(error)
        if failure.code is FailureCode.INTERNAL_ERROR:
            log.exception("Job %s failed.", hold.job_id)
        return with_diagnosis(database, hold, failure, settings.retries)
    if stop is None:  # an order that came after the last step came too late
        early = None if run.stopping is None else run.stopping.told()
        return with_diagnosis(database, hold, partial(completed, early=early), settings.retries)
    return stopped(database, hold, stop, spec, settings.retries)


def _begun(spec: JobSpec, saved: Snapshot | None, *, forked: bool) -> int:
    """The step of another job after which a schedule that begins anew does so."""
    if saved is None or not forked or "scheduler" in kept_parts(saved, settings_of_parts(spec), forked=forked):
        return 0
    return saved.step


def completed(session: Session, hold: Hold, early: dict[str, Any] | None) -> None:
    """The job has reached its end; `early` says why if that came before the last step."""
    if early is not None:
        events.add(session, hold.job_id, hold.attempt, EventType.EARLY_STOPPING, **early)
    origins.compare(session, hold)
    lease.succeed(session, hold, "completed" if early is None else "early_stopped")


def stopped(database: Database, hold: Hold, stop: Stop, spec: JobSpec, retries: Retries) -> End:
    """How to write the end of an attempt that was told to stop."""
    match stop:
        case Stop.CANCEL:
            return with_diagnosis(database, hold, lease.cancelled, retries)
        case Stop.PAUSE:
            return lease.paused
        case Stop.MAX_RUNTIME:
            return with_diagnosis(database, hold, recovery.out_of_time(spec.max_runtime_seconds), retries)
        case _:
            return lease.release


def load_data(settings: WorkerSettings, info: DatasetInfo, binarize: bool = False) -> CachedData:
    """A data set, mapped from the machine's cache; decoded into it first if it is not there.

    Raises:
        DataError: it cannot be found or read.
    """
    return cache.load(info, binarize=binarize, data_dir=settings.data_folder, cache=settings.cache)


def prepare(settings: WorkerSettings) -> str:
    """Decode the bundled data set into the cache; returns the kind of device that jobs run on."""
    load_data(settings, DATASETS[DatasetName.DIGITS])
    return choose_device("auto").type


def explain(error: Exception) -> Failure:
    """What a job shows of the error that ended it."""
    if isinstance(error, TrainingError):
        code = FailureCode(error.code)
        return Failure(code=code, message=str(error), hint=error.hint, step=error.step)
    if _is_out_of_memory(error):
        return Failure(
            code=FailureCode.OUT_OF_MEMORY,
            message="The device has too little memory for this network and batch.",
            hint="Lower batch_size or the sizes of the network, or run fewer jobs at a time.",
        )
    if isinstance(error, StorageFull | StorageFailed):
        return Failure(
            code=FailureCode(error.code),
            message=str(error),
            hint="Make room in the store, or mend it, then retry the job: it goes on from its newest checkpoint.",
        )
    if isinstance(error, ValidationError):
        return Failure(
            code=FailureCode.INVALID_SPEC,
            message="The stored spec is not one that this version of the service takes.",
            hint="Submit the job again; the answer says which field is wrong.",
        )
    # Its text may hold paths and statements of the inside: the log has it, the client does not.
    return Failure(
        code=FailureCode.INTERNAL_ERROR,
        message=f"The service failed ({type(error).__name__}).",
        hint="The worker's log has the details, under the id of the job. Please report it.",
    )


def _is_out_of_memory(error: Exception) -> bool:
    # On the CPU torch has no class for it.
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error)
