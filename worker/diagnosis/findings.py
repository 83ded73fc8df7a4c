"""What a diagnosis consists of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from db.lease import Failure
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
    """One thing that was looked at, or that could not be: then `reason` says why.

    `of_spec` says that nothing recorded was needed.
    """

    check: str
    codes: tuple[str, ...]
    status: CheckStatus
    reason: str | None = None
    of_spec: bool = False


class NotChecked(Exception):
    """Raised by a rule that lacks its numbers; the message says which, and how to get them."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Findings, the worst first and what follows from one behind it; and everything that was looked at.

    `final` is false while the job may still record more; `failure` is what ended it, if it failed.
    """

    findings: tuple[Finding, ...]
    checked: tuple[Check, ...]
    step: int
    final: bool
    failure: Failure | None = None

    @property
    def summary(self) -> str:
        """One honest sentence."""
        if self.failure is None:
            return f"At step {self.step}{self._result('nothing was found that needs mending')}."
        at = "" if self.failure.step is None else f" at step {self.failure.step}"
        said = self._result("nothing was found that explains it").lstrip(": ")
        return f"The job failed ({self.failure.code}{at}); {said}."

    def _result(self, nothing: str) -> str:
        """What was found, or `nothing`, and how many checks stand behind that."""
        passed, _, missing = (self._count(status) for status in CheckStatus)
        counts = f"{passed} checks passed, {missing} of {len(self.checked)} checks lacked their numbers"
        causes = [finding for finding in self.findings if finding.because_of is None]
        serious = [finding.code for finding in causes if finding.severity is not Severity.INFO]
        if serious:
            return f": {', '.join(serious)}; {counts}"
        notes = f" ({len(causes)} to note)" if causes else ""
        if all(check.of_spec or check.status is CheckStatus.NOT_CHECKED for check in self.checked):
            return f" nothing could be checked{'' if self.final else ' yet'} but the spec{notes}"
        return f" {nothing}{notes}; {counts}"

    def _count(self, status: CheckStatus) -> int:
        return sum(check.status is status for check in self.checked)
