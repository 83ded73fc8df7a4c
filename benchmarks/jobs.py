"""Jobs as a worker runs them, against a database and a store in a temporary folder."""

import os
import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch

from benchmarks.paired import Turns
from benchmarks.plain import own_kernels
from db import chunks, jobs, lease
from db.datasets import DATASETS, DatasetName
from db.engine import Database
from db.lease import Hold
from db.migrate import upgrade
from db.settings import WorkerSettings
from db.spec.job import JobSpec
from db.status import Status
from db.store import Store
from worker.assembly import make_run
from worker.child import Orders
from worker.data.cache import CachedData
from worker.device import describe
from worker.reporter import DatabaseReporter
from worker.run import load_data, run_attempt
from worker.stop import Stop
from worker.trainer import train

#: The job that is measured; its length and what it records besides the defaults come with each measurement.
JOB: dict[str, Any] = {
    "dataset": {"name": "mnist", "binarize": True},
    "architecture": {
        "name": "mlp",
        "hidden": [100, 100, 100],
        "activation": "sigmoid",
        "init": {"name": "normal", "std": 0.1},
    },
    "norm": {"name": "batch"},
    "optimizer": {"name": "SGD", "lr": 0.1},
    "batch_size": 60,
    "seed": 0,
    "device": "cpu",
}
#: A step that no block reaches.
NEVER = 10**9
LEASE_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class Installation:
    """An empty installation of the service, with the data of the job decoded."""

    settings: WorkerSettings
    database: Database
    cached: CachedData

    @staticmethod
    def under(folder: Path) -> "Installation":
        """A new installation in `folder`; the data comes from where the environment says it lies."""
        # One job for each core, so that a job has one thread.
        found = WorkerSettings()
        settings = WorkerSettings(
            home=folder,
            data_dir=found.data_folder,
            database_url=f"sqlite:///{folder / 'normlab.db'}",
            store_url=(folder / "store").as_uri(),
            concurrency=os.cpu_count() or 1,
        )
        database = Database(settings.database_url)
        upgrade(database)
        cached = load_data(settings, DATASETS[DatasetName.MNIST], binarize=True)
        return Installation(settings=settings, database=database, cached=cached)

    def claim(self, spec: dict[str, Any]) -> Hold:
        """Create a job and claim it; what `spec` does not say is `JOB`'s."""
        with self.database.write() as session:
            jobs.create(session, JobSpec.model_validate({**JOB, **spec}))
        with self.database.write() as session:
            hold = lease.claim(session, "benchmark", LEASE_SECONDS)
        assert hold is not None
        return hold

    def block(
        self,
        steps: int,
        turns: Turns,
        statistics: dict[str, Any] | None = None,
        job: dict[str, Any] = JOB,
        cached: CachedData | None = None,
    ) -> None:
        """The first `steps` steps of a long job, until all that they recorded is in the database."""
        cached = cached or self.cached
        later = {"steps": NEVER, "evaluate": {"every": NEVER}, "checkpoint": {"every": NEVER}}
        hold = self.claim({**job, **later, "statistics": statistics or {}})
        with self.database.write() as session:
            lease.start_from(session, hold, 0, 0, latest={}, best={})
        with self.database.read() as session:
            spec = JobSpec.model_validate(jobs.get(session, hold.job_id).resolved)
        device = torch.device("cpu")
        reporter = DatabaseReporter(self.database, Store(self.settings.store_url), hold, spec)
        reporter.environment(describe(device, spec.precision), cached.digest)
        with own_kernels():
            run = make_run(spec, cached, device)
            asked = count()

            def wanted() -> Stop | None:  # the loop asks before each step
                before = next(asked)
                if before:
                    turns()
                return Stop.CANCEL if before == steps or reporter.stopped.is_set() else None

            with turns:
                train(run, reporter, wanted)
                reporter.close()
        self._check(hold, steps)

    def _check(self, hold: Hold, steps: int) -> None:
        with self.database.read() as session:
            streams = chunks.find(session, hold.job_id, chunks.METRICS)
        recorded = sum(info.rows for info in streams["train"])
        if recorded != steps:
            raise RuntimeError(f"{recorded} of {steps} steps were recorded.")
        with self.database.write() as session:
            lease.succeed(session, hold)

    def whole_job(self, steps: int) -> None:
        """A job with every default, from the claim to its end in the database."""
        hold = self.claim({"steps": steps})
        orders = cast(Orders, SimpleNamespace(stop=None))  # nobody cancels it
        with own_kernels():
            run_attempt(self.settings, hold, orders)
        with self.database.read() as session:
            status = jobs.get(session, hold.job_id).status
        if status is not Status.SUCCEEDED:
            raise RuntimeError(f"The job is {status.value}.")


def temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    """Where an installation may live for one measurement."""
    return tempfile.TemporaryDirectory(prefix="normlab-benchmark-")
