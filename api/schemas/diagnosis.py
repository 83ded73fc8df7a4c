"""A diagnosis as clients see it."""

from typing import Self

from pydantic import BaseModel

from db.spec.lints.base import Severity
from worker.diagnosis.findings import Check, CheckStatus, Diagnosis, Finding


class FindingOut(BaseModel):
    """Something that is not as it should be.

    `evidence` holds the numbers behind it, of the worst of its `sites`; those that are not finite are the words
    NaN, Infinity, -Infinity. `because_of` is the code of the finding that it follows from. `reference` is the
    section of the documentation.
    """

    code: str
    severity: Severity
    sites: list[str]
    evidence: dict[str, float | str]
    explanation: str
    advice: str
    reference: str
    because_of: str | None

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """What a client sees of a finding."""
        return cls(
            code=finding.code,
            severity=finding.severity,
            sites=list(finding.sites),
            evidence=dict(finding.evidence),
            explanation=finding.explanation,
            advice=finding.advice,
            reference=finding.reference,
            because_of=finding.because_of,
        )


class CheckOut(BaseModel):
    """One thing that was looked at, and the codes of what it may find; `reason` says why it was not checked."""

    check: str
    codes: list[str]
    status: CheckStatus
    reason: str | None

    @classmethod
    def of(cls, check: Check) -> Self:
        """What a client sees of a check."""
        return cls(check=check.check, codes=list(check.codes), status=check.status, reason=check.reason)


class DiagnosisOut(BaseModel):
    """What the record of a job says about its normalization, up to `step`.

    Findings: the worst first, each followed by what follows from it. `final` is false while the job may still
    record more.
    """

    findings: list[FindingOut]
    checked: list[CheckOut]
    step: int
    final: bool
    summary: str

    @classmethod
    def of(cls, diagnosis: Diagnosis) -> Self:
        """What a client sees of a diagnosis."""
        return cls(
            findings=[FindingOut.of(finding) for finding in diagnosis.findings],
            checked=[CheckOut.of(check) for check in diagnosis.checked],
            step=diagnosis.step,
            final=diagnosis.final,
            summary=diagnosis.summary,
        )
