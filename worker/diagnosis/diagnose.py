"""From evidence to a diagnosis."""

import numpy as np

from worker.diagnosis.causes import with_causes
from worker.diagnosis.evidence import Evidence
from worker.diagnosis.findings import Diagnosis
from worker.diagnosis.rules import RULES


def diagnose(evidence: Evidence) -> Diagnosis:
    """Apply every rule; those that lack their numbers say so."""
    # Records of jobs that diverged hold infinities, whose sums and quotients are meant.
    with np.errstate(all="ignore"):
        applied = [rule.apply(evidence) for rule in RULES]
    return Diagnosis(
        findings=with_causes([finding for found, _ in applied for finding in found]),
        checked=tuple(check for _, check in applied),
        step=evidence.step,
        final=evidence.final,
        failure=evidence.failure,
    )
