"""Evidence of real runs, as a reporter in memory was told of them."""

from collections.abc import Sequence

import numpy as np

from db.latest import SiteRecord
from db.spec.job import JobSpec
from tests.worker.support import Kept
from worker.diagnosis.evidence import Evidence, sites_of
from worker.diagnosis.load import LAST_BATCHES, LAST_ROWS, site_evidence


def evidence_of(spec: JobSpec, kept: Kept) -> Evidence:
    """Of a finished run, as its reporter has it."""
    step = spec.total_steps()
    metrics = {
        name: (steps[-1], float(values[-1]))
        for parts in kept.streams.values()
        for steps, series in parts
        for name, values in series.items()
    }
    accuracy = kept.series("train/accuracy")[-LAST_BATCHES:] if "train/accuracy" in metrics else []
    return Evidence(
        spec=spec,
        step=step,
        final=True,
        metrics=metrics,
        train_batches=(len(accuracy) * spec.batch_size, float(np.mean(accuracy))) if len(accuracy) else None,
        sites=tuple(site_evidence(site, _record(kept, site.name)) for site in sites_of(spec)),
    )


def _record(kept: Kept, site: str) -> SiteRecord:
    parts = kept.sites.get(site, [])
    populations = kept.populations.get(site, [])
    step, evaluation = populations[-1] if populations else (None, {})
    return SiteRecord(
        steps=[step for steps, *_ in parts for step in steps][-LAST_ROWS:],
        columns={name: _joined([moments[name] for _, moments, *_ in parts]) for name in parts[-1][1]}
        if parts
        else {},
        evaluation_step=step,
        evaluation={name: np.asarray(values).ravel() for name, values in evaluation.items()},
    )


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of one column: (rows, width), the last ones."""
    rows = np.concatenate(parts)
    return rows.reshape(len(rows), -1)[-LAST_ROWS:]
