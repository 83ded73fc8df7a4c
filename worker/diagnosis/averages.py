"""Rules about averages that have not got where they should be: young ones, and those of averaged weights."""

from collections.abc import Iterable

from db.spec.lints import averages
from db.spec.lints.averages import LARGEST_RESIDUE
from db.spec.lints.base import Severity
from worker.diagnosis.drift import about, average_weight, batches_of_population, drifts
from worker.diagnosis.evidence import Evidence
from worker.diagnosis.findings import Finding, NotChecked
from worker.diagnosis.statistics import needs_averages
from worker.diagnosis.words import percent

#: Share of the initial values from which on eval mode is not to be trusted.
BAD_RESIDUE = 0.1


def init_residue(evidence: Evidence) -> Iterable[Finding]:
    """Running averages that still hold the values they began with."""
    needs_averages(evidence)
    momentum = evidence.momentum
    if momentum is None:
        raise NotChecked("Averages that weigh every batch the same, or never move, have no residue.")
    if not evidence.step:
        raise NotChecked("There has been no step yet.")
    residue = averages.init_residue(evidence.spec, evidence.step)
    if residue <= LARGEST_RESIDUE:
        return
    # A job that goes on will leave its beginning behind, unless it is too short.
    left = averages.init_residue(evidence.spec, evidence.spec.total_steps())
    passing = not evidence.final and left <= LARGEST_RESIDUE
    lasting = Severity.BAD if residue > BAD_RESIDUE else Severity.WARN
    larger = averages.momentum_for(averages.updates(evidence.spec, evidence.spec.total_steps()))
    yield Finding(
        code="init_residue",
        severity=Severity.INFO if passing else lasting,
        evidence={"residue": residue, "updates": evidence.updates, "momentum": momentum},
        explanation=f"After {evidence.updates} updates with momentum {momentum:g} the running averages are still "
        f"{percent(residue)} their initial values, mean 0 and variance 1. Eval mode uses them."
        + (" The job is long enough to leave them behind." if passing else ""),
        advice="POST /v1/jobs/{id}/recalibrate replaces them for the weights as they are. In the next job take "
        f"norm.momentum {max(larger, momentum):g} or more (0.1 is usual), or more steps.",
    )


def ema_statistics(evidence: Evidence) -> Iterable[Finding]:
    """Averaged weights whose stored statistics are not their own."""
    ema = evidence.spec.ema
    if ema is None:
        raise NotChecked("The job averages no weights (ema).")
    needs_averages(evidence)
    weight = average_weight(evidence) + 1 / batches_of_population(evidence)
    found = list(drifts(evidence, "ema", weight=weight, recorded=False))
    if not found:
        raise NotChecked("No evaluation in mode `precise` has measured the averaged model yet.")
    kept = (
        "which are averages over those of other weights"
        if ema.use_buffers
        else "which are those of the weights that are trained (ema.use_buffers is false)"
    )
    yield from about(
        found,
        code="ema_statistics",
        what=f"the averaged weights do not go with the averaged model's stored statistics, {kept}",
        advice='POST /v1/jobs/{id}/recalibrate with {"weights": "ema"} gives them statistics of their own.',
    )
