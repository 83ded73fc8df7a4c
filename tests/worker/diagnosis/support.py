"""Evidence made by hand, and what a diagnosis makes of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.shapes import Site
from tests.db.support import make_spec
from worker.diagnosis.diagnose import diagnose
from worker.diagnosis.evidence import Evidence, SiteEvidence, sites_of
from worker.diagnosis.findings import CheckStatus, Diagnosis, Finding

CHANNELS = 8
#: A network for every norm: it has positions, and a residual branch. Its sites are `norm1` and `residual3.norm1`.
BRANCHED = {
    "name": "sequential",
    "layers": [
        {"name": "conv", "channels": CHANNELS, "kernel": 3, "padding": 1},
        {"name": "norm"},
        {"name": "activation", "activation": "relu"},
        {
            "name": "residual",
            "layers": [
                {"name": "conv", "channels": CHANNELS, "kernel": 3, "padding": 1},
                {"name": "norm"},
                {"name": "activation", "activation": "relu"},
            ],
        },
        {"name": "flatten"},
        {"name": "linear", "units": 10},
    ],
}


def make_evidence(
    *,
    columns: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    by_site: Mapping[str, Mapping[str, Any]] | None = None,
    metrics: Mapping[str, float] | None = None,
    step: int = 1000,
    final: bool = True,
    rows: int = 8,
    train_batches: tuple[int, float] | None = None,
    failure: Any = None,
    **changes: Any,
) -> Evidence:
    """A job of two sites of 8 channels. A number is that of every row and channel; `by_site` replaces columns."""
    spec = make_spec(**{"architecture": {"name": "mlp", "hidden": [CHANNELS, CHANNELS]}} | changes)
    return Evidence(
        spec=spec,
        step=step,
        final=final,
        metrics={name: (step, value) for name, value in (metrics or {}).items()},
        train_batches=train_batches,
        sites=tuple(
            SiteEvidence(
                site=site,
                steps=tuple(range(rows)),
                columns=_filled({**(columns or {}), **(by_site or {}).get(site.name, {})}, site, rows),
                evaluation={name: values[-1] for name, values in _filled(evaluation or {}, site, 1).items()},
            )
            for site in sites_of(spec)
        ),
        failure=failure,
    )


def _filled(values: Mapping[str, Any], site: Site, rows: int) -> dict[str, np.ndarray]:
    kinds = {"layer": 1, "train": site.moments, "eval": site.moments}
    widths = {name: kinds.get(name.partition(".")[0], site.channels) for name in values}
    return {
        name: np.broadcast_to(np.asarray(value, dtype=np.float64), (rows, widths[name])).copy()
        for name, value in values.items()
    }


def codes(found: Diagnosis) -> list[str]:
    return [finding.code for finding in found.findings]


def found(evidence: Evidence, code: str) -> Finding | None:
    """The finding of that code, if the diagnosis has it."""
    return next((finding for finding in diagnose(evidence).findings if finding.code == code), None)


def status(evidence: Evidence, code: str) -> CheckStatus:
    """What became of the check that may find the code."""
    return next(check.status for check in diagnose(evidence).checked if code in check.codes)


def reason(evidence: Evidence, code: str) -> str | None:
    return next(check.reason for check in diagnose(evidence).checked if code in check.codes)
