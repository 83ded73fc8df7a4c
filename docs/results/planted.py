"""Jobs with a fault in the run or in the data, as a worker runs them: a real database, a real reporter."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from db import jobs, lease
from db.engine import Database
from db.lease import Hold
from db.migrate import upgrade
from db.settings import WorkerSettings
from db.spec.job import JobSpec
from db.store import Store
from docs.results.planted_faults import Fault, Spec
from worker.assembly import make_run
from worker.conclusion import End, with_diagnosis
from worker.data.cache import CachedData
from worker.device import describe
from worker.diagnosis.findings import Diagnosis
from worker.diagnosis.load import diagnosis
from worker.reporter import DatabaseReporter
from worker.run import explain, load_data
from worker.stop import Stop
from worker.trainer import Run, train

CPU = torch.device("cpu")
LEASE_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """An installation of the service without any job."""

    settings: WorkerSettings
    database: Database

    @staticmethod
    def under(folder: Path) -> "Workshop":
        """A new one in `folder`."""
        settings = WorkerSettings(
            home=folder,
            database_url=f"sqlite:///{folder / 'normlab.db'}",
            store_url=(folder / "store").as_uri(),
            concurrency=os.cpu_count() or 1,
        )
        database = Database(settings.database_url)
        upgrade(database)
        return Workshop(settings=settings, database=database)

    def diagnose(self, fault: Fault, seed: int, *, healthy: bool) -> Diagnosis:
        """The diagnosis of the job with the fault, or of its twin, at its end."""
        hold, spec = self._claim(fault.job(seed, healthy=healthy))
        data = load_data(self.settings, spec.dataset.info)
        if fault.change and not healthy:
            data = fault.change(data)
        run = make_run(spec, data, CPU)
        if fault.plant and not healthy:
            run = fault.plant(run)
        end = self._train(hold, spec, run, data)
        with self.database.write() as session:
            end(session, hold)
        with self.database.read() as session:
            return diagnosis(session, hold.job_id)

    def _claim(self, spec: Spec) -> tuple[Hold, JobSpec]:
        with self.database.write() as session:
            jobs.create(session, JobSpec.model_validate(spec))
        with self.database.write() as session:
            hold = lease.claim(session, "workshop", LEASE_SECONDS)
            if hold is not None:
                lease.start_from(session, hold, 0, 0, latest={}, best={})
        if hold is None:
            raise RuntimeError("The job that was just queued is not there.")
        with self.database.read() as session:
            return hold, JobSpec.model_validate(jobs.get(session, hold.job_id).resolved)

    def _train(self, hold: Hold, spec: JobSpec, run: Run, data: CachedData) -> End:
        reporter = DatabaseReporter(self.database, Store(self.settings.store_url), hold, spec)
        try:
            reporter.environment(describe(CPU, spec.precision), data.digest)
            train(run, reporter, lambda: Stop.LOST if reporter.stopped.is_set() else None)
        except Exception as error:  # as a worker: the job fails, and its diagnosis says why
            reporter.close()
            return with_diagnosis(self.database, hold, explain(error), self.settings.retries)
        reporter.close()
        return with_diagnosis(self.database, hold, lease.succeed, self.settings.retries)
