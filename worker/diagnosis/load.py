"""The evidence of a job from the database."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from db import jobs, metrics
from db.latest import SiteRecord, latest
from db.lease import Failure
from db.metrics import MetricsQuery
from db.spec.job import JobSpec
from db.status import FINAL
from db.tables import Job
from models.shapes import Site
from worker.diagnosis.diagnose import diagnose
from worker.diagnosis.evidence import Evidence, SiteEvidence, sites_of
from worker.diagnosis.findings import Diagnosis

#: Recorded rows of each site that are looked at, and training batches whose accuracy is.
LAST_ROWS, LAST_BATCHES = 16, 16


def diagnosis(session: Session, job_id: str) -> Diagnosis:
    """The diagnosis of a job as far as it is recorded.

    Raises:
        NotFound: there is no such job.
        ValidationError: its spec is not taken any more.
    """
    return diagnose(evidence(session, jobs.get(session, job_id)))


def evidence(session: Session, job: Job) -> Evidence:
    """What the job has recorded last; reads no more than the last chunks of each stream.

    Raises:
        ValidationError: the job's spec is not taken any more.
    """
    # As posted: whether a field was named matters to a warning. Its defaults are those of the resolved spec.
    spec = JobSpec.model_validate(job.resolved | {"architecture": job.spec["architecture"]})
    records, failure = latest(session, job.id, LAST_ROWS), _failure(job)
    return Evidence(
        spec=spec,
        step=job.step if failure is None else max(job.step, failure.step or 0),
        final=job.status in FINAL,
        metrics={name: (point["step"], float(point["value"])) for name, point in job.latest.items()},
        train_batches=_train_batches(session, job, spec),
        sites=tuple(site_evidence(site, records.get(site.name, SiteRecord())) for site in sites_of(spec)),
        failure=failure,
    )


def site_evidence(site: Site, record: SiteRecord) -> SiteEvidence:
    """What is recorded of one site, as float64 throughout."""
    return SiteEvidence(
        site=site,
        steps=tuple(record.steps),
        columns=_as_float64(record.columns),
        evaluation=_as_float64(record.evaluation),
    )


def _as_float64(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}


def _train_batches(session: Session, job: Job, spec: JobSpec) -> tuple[int, float] | None:
    name, samples = "train/accuracy", spec.batch_size * spec.optimizer.accumulate
    if name not in job.latest:
        return None
    first = job.latest[name]["step"] - LAST_BATCHES * spec.record.every + 1
    page = metrics.read(session, job.id, MetricsQuery(names=[name], from_step=max(0, first)))
    values = page.series.get(name, {}).get("value", [])
    return (len(values) * samples, float(np.mean(values))) if values else None


def _failure(job: Job) -> Failure | None:
    if job.failure_code is None or job.failure_message is None:
        return None
    return Failure(
        code=job.failure_code,
        message=job.failure_message,
        hint=job.failure_hint or "",
        step=job.failure_step,
    )
