"""Which finding follows from which, so that one cause is not told as five troubles."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from db.spec.lints.base import Severity
from worker.diagnosis.findings import Finding

#: What each finding may follow from, the first that was found: those nearer to the root stand first.
CAUSES: Mapping[str, tuple[str, ...]] = {
    "short_averages": ("init_residue",),
    "statistics_drift": (
        "variance_overflow",
        "init_residue",
        "two_values_per_channel",
        "non_iid_batches",
        "statistic_noise",
        "dropout_before_norm",
    ),
    "stale_statistics": (
        "variance_overflow",
        "init_residue",
        "dropout_before_norm",
        "statistics_drift",
        "two_values_per_channel",
        "statistic_noise",
    ),
    "precise_gap": (
        "variance_overflow",
        "init_residue",
        "dropout_before_norm",
        "statistics_drift",
        "frozen_shift",
        "stale_statistics",
        "non_iid_batches",
        "statistic_noise",
    ),
    "statistic_noise": ("two_values_per_channel", "non_iid_batches"),
    "batch_noise": ("two_values_per_channel", "non_iid_batches", "statistic_noise"),
    "batch_dependence": ("variance_overflow", "non_iid_batches", "two_values_per_channel", "statistic_noise"),
    "frozen_shift": ("frozen_from_scratch",),
    "ema_statistics": ("short_ema",),
    "generalization_gap": ("test_shift",),
    "variance_overflow": ("dead_units",),
    "constant_channel": ("dead_units",),
    "vanishing_gradients": ("dead_units", "saturated_units", "two_values_per_channel", "statistic_noise"),
    "exploding_gradients": ("standardized_alone",),
    "scale_not_finite": ("exploding_gradients",),
}


def with_causes(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings in order: causes by severity, each followed by what follows from it.

    A cause is as bad as the worst that follows from it.
    """
    known = {finding.code: finding for finding in findings}
    linked = [replace(finding, because_of=_cause(finding, known)) for finding in findings]
    raised = [_raised(finding, linked) for finding in linked]
    return tuple(_under(None, raised))


def _cause(finding: Finding, known: Mapping[str, Finding]) -> str | None:
    # A note explains no trouble.
    least = min(finding.severity, Severity.WARN, key=lambda severity: severity.rank)
    causes = (known[code] for code in CAUSES.get(finding.code, ()) if code in known)
    return next((cause.code for cause in causes if cause.severity.rank >= least.rank), None)


def _raised(finding: Finding, linked: Sequence[Finding]) -> Finding:
    follow = [_raised(other, linked).severity for other in linked if other.because_of == finding.code]
    return replace(finding, severity=max([finding.severity, *follow], key=lambda severity: severity.rank))


def _under(cause: str | None, findings: Sequence[Finding]) -> Iterator[Finding]:
    alike = [finding for finding in findings if finding.because_of == cause]
    for finding in sorted(alike, key=lambda finding: -finding.severity.rank):
        yield finding
        yield from _under(finding.code, findings)
