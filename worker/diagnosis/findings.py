"""What a diagnosis consists of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from db.spec.lints.base import Severity

#: Where each finding's code has a section.
PAGE = "docs/diagnosis.md"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not as it should be.

    `evidence` holds the numbers behind it (of the worst site, where there are several), `because_of` the code of
    the finding that it follows from, if that was found too.
    """

    code: str
    severity: Severity
    explanation: str
    advice: str
    sites: tuple[str, ...] = ()
    evidence: Mapping[str, float] = field(default_factory=dict)
    because_of: str | None = None

    @property
    def reference(self) -> str:
        """Where to read more."""
        return f"{PAGE}#{self.code}"


class CheckStatus(StrEnum):
    """What became of a check."""

    PASSED = "passed"
    FOUND = "found"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at, or that could not be: then `reason` says why."""

    check: str
    codes: tuple[str, ...]
    status: CheckStatus
    reason: str | None = None


class NotChecked(Exception):
    """Raised by a rule that lacks its numbers; the message says which, and how to get them."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Findings, the worst first and what follows from one behind it; and everything that was looked at.

    `final` is false while the job may still record more.
    """

    findings: tuple[Finding, ...]
    checked: tuple[Check, ...]
    step: int
    final: bool

    @property
    def summary(self) -> str:
        """One honest sentence."""
        passed, found, missing = (self._count(status) for status in CheckStatus)
        rest = f"{missing} of {len(self.checked)} checks lacked their numbers"
        causes = [finding for finding in self.findings if finding.because_of is None]
        serious = [finding.code for finding in causes if finding.severity is not Severity.INFO]
        if serious:
            return f"At step {self.step}: {', '.join(serious)}; {passed} checks passed, {rest}."
        notes = f" ({len(causes)} to note)" if causes else ""
        if not passed + found:
            return f"At step {self.step} nothing could be checked yet."
        return f"At step {self.step} nothing was found that needs mending{notes}; {passed} checks passed, {rest}."

    def _count(self, status: CheckStatus) -> int:
        return sum(check.status is status for check in self.checked)
