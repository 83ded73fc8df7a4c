"""Warnings about the spec as findings, so that a diagnosis is complete by itself."""

from collections.abc import Iterable

from db.spec.warnings import RULES
from worker.diagnosis.evidence import Evidence
from worker.diagnosis.findings import Finding


def spec_lints(evidence: Evidence) -> Iterable[Finding]:
    """What the plan of the job warns of too."""
    for rule in RULES.values():
        if (warning := rule(evidence.spec)) is not None:
            yield Finding(
                code=warning.code,
                severity=warning.severity,
                explanation=warning.message,
                advice=f"Look at {warning.pointer} of the spec.",
            )
