"""One attempt in its own process: everything is built from the spec, trained, and its end is written."""

import logging

import torch
from pydantic import ValidationError

from db import jobs, lease
from db.datasets import DATASETS, DatasetInfo, DatasetName, Task
from db.engine import Database
from db.errors import AttemptSuperseded
from db.lease import Failure, Hold
from db.logs import set_up_logging
from db.settings import WorkerSettings
from db.spec.job import JobSpec, units_to_record
from db.status import FailureCode
from db.store import Store
from models.build import build
from models.memory import eval_batch
from models.norms.running import RunningAverages
from models.shapes import largest_output
from worker.child import Orders, Stop
from worker.conclusion import End, with_diagnosis
from worker.data import batches, cache
from worker.data.batches import Data, Samples
from worker.data.cache import CachedData
from worker.data.order import BatchOrder
from worker.device import choose_device, describe, in_precision
from worker.ema import Ema
from worker.errors import TrainingError
from worker.evaluate import Evaluator
from worker.objective import Classification, Regression
from worker.optim import make_optimizer
from worker.probes.make import make_probes
from worker.recorder import StepRecorder
from worker.reporter import DatabaseReporter, patiently
from worker.seeding import seed_everything
from worker.statistics import SiteStatistics, Wanted
from worker.trainer import Plan, Run, train

log = logging.getLogger(__name__)

OBJECTIVES: dict[Task, type[Classification | Regression]] = {
    Task.CLASSIFICATION: Classification,
    Task.REGRESSION: Regression,
}


def run_attempt(settings: WorkerSettings, hold: Hold, orders: Orders) -> None:
    """Train the job of `hold` and write how it ended, unless another attempt holds it by then."""
    set_up_logging()
    torch.set_num_threads(settings.threads_per_job)
    database = Database(settings.database_url)
    try:
        end = _train(settings, database, hold, orders)
        patiently(database, lambda session: end(session, hold))
    except AttemptSuperseded as superseded:
        log.warning("%s", superseded)
    finally:
        database.dispose()


def _train(settings: WorkerSettings, database: Database, hold: Hold, orders: Orders) -> End:
    """Train; returns how to write the end.

    Raises:
        AttemptSuperseded: another attempt holds the job.
    """
    try:
        with database.read() as session:
            spec = JobSpec.model_validate(jobs.get(session, hold.job_id).resolved)
        reporter = DatabaseReporter(database, Store(settings.store_url), hold, spec)
        try:
            device = choose_device(spec.device)
            cached = load_data(settings, spec.dataset.info, spec.dataset.binarize)
            reporter.environment(describe(device, spec.precision), cached.digest)
            run = make_run(spec, cached, device)
            finished = train(run, reporter, lambda: orders.stop is not None or reporter.stopped.is_set())
        finally:
            reporter.close()
    except AttemptSuperseded:
        raise
    except Exception as error:
        failure = explain(error)
        if failure.code is FailureCode.INTERNAL_ERROR:
            log.exception("Job %s failed.", hold.job_id)
        return with_diagnosis(database, hold, failure)
    if finished:  # an order that came after the last step came too late
        return with_diagnosis(database, hold, lease.succeed)
    if orders.stop is Stop.CANCEL:
        return with_diagnosis(database, hold, lease.cancelled)
    return lease.release


def load_data(settings: WorkerSettings, info: DatasetInfo, binarize: bool = False) -> CachedData:
    """A data set, mapped from the machine's cache; decoded into it first if it is not there.

    Raises:
        DataError: it cannot be found or read.
    """
    return cache.load(info, binarize=binarize, data_dir=settings.data_folder, cache=settings.cache)


def prepare(settings: WorkerSettings) -> None:
    """Decode the bundled data set into the cache."""
    load_data(settings, DATASETS[DatasetName.DIGITS])


def make_run(spec: JobSpec, cached: CachedData, device: torch.device) -> Run:
    """Everything that takes part in a run, from its resolved spec. Seeds torch's global generator."""
    seed_everything(spec.seed)
    blueprint = spec.blueprint()
    model = build(blueprint).to(device)
    data = place_data(spec, cached, device)
    order = make_order(spec, data.train)
    averages = RunningAverages(model.modules())
    optimizer = make_optimizer(spec.optimizer, model)
    objective = OBJECTIVES[spec.dataset.info.task](spec.loss.reduction)
    most_samples = eval_batch(largest_output(blueprint))
    return Run(
        plan=make_plan(spec),
        data=data,
        order=order,
        model=model,
        forward=in_precision(model, spec.precision, device),
        optimizer=optimizer,
        averages=averages,
        objective=objective,
        probes=make_probes(spec.probes, data, order, most_samples),
        ema=None if spec.ema is None else Ema(model, decay=spec.ema.decay, use_buffers=spec.ema.use_buffers),
        recorder=StepRecorder(objective, spec.record.every, lambda: float(optimizer.param_groups[0]["lr"])),
        statistics=SiteStatistics(
            model, blueprint, averages, make_wanted(spec), lambda: float(optimizer.param_groups[0]["lr"])
        ),
        evaluator=Evaluator(
            model,
            data,
            objective,
            batch_size=spec.batch_size,
            modes=spec.evaluate.modes,
            eval_batch=most_samples,
            population=spec.evaluate.population,
            order=order,
        ),
    )


def place_data(spec: JobSpec, cached: CachedData, device: torch.device) -> Data:
    """The job's samples on the device."""
    dataset, info = spec.dataset, spec.dataset.info
    return batches.place(
        cached.arrays,
        device,
        scale=1.0 if dataset.binarize else info.scale,
        standard=(info.mean, info.std) if dataset.standardize else None,
        train_limit=dataset.train_limit,
        test_limit=dataset.test_limit,
        # Train mode needs at least one whole batch of the subset.
        gap_samples=max(spec.evaluate.train_samples, spec.batch_size),
    )


def make_order(spec: JobSpec, train: Samples) -> BatchOrder:
    """The batches of the job's training samples."""
    classes = spec.dataset.classes_per_batch
    return BatchOrder(
        samples=len(train),
        size=spec.batch_size,
        seed=spec.seed,
        classes_per_batch=classes,
        labels=None if classes is None else train.targets.cpu(),
        device=train.targets.device,
    )


def make_wanted(spec: JobSpec) -> Wanted:
    """What the sites of a resolved spec record."""
    statistics = spec.statistics
    return Wanted(
        units=units_to_record(spec),
        percentiles=statistics.percentiles,
        details=statistics.details,
        every=statistics.every,
        steps=spec.resolved().steps or 0,
        accumulate=spec.optimizer.accumulate,
    )


def make_plan(spec: JobSpec) -> Plan:
    """The loop's numbers of a resolved spec."""
    resolved = spec.resolved()
    return Plan(
        steps=resolved.steps or 0,
        accumulate=spec.optimizer.accumulate,
        evaluate_every=resolved.evaluate.every or 1,
        checkpoint_every=spec.checkpoint.every,
        freeze_after=getattr(spec.norm, "freeze_after", None),
    )


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
