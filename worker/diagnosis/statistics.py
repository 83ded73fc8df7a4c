"""Rules about stored statistics: whether they are those of the data."""

from collections.abc import Iterable
from math import log, sqrt

import numpy as np

from db.spec.lints.base import Severity
from models.catalog.names import NormName
from worker.diagnosis.channels import CONSTANT, eps_of, variances
from worker.diagnosis.drift import WINDOW, about, average_weight, batches_of_population, drifts
from worker.diagnosis.evidence import Evidence, SiteEvidence
from worker.diagnosis.findings import Finding, NotChecked
from worker.diagnosis.words import at, number, percent

#: torch's default.
USUAL_MOMENTUM = 0.1
#: A running variance this many times the population's has taken in an overflow.
OVERFLOW = 1e4
#: Share of constant channels at a site from which on they are more than a note.
MANY = 0.3
#: As `drift.LIMITS`, for statistics that are frozen: the weights move on, and what they give with them. Over 150
#: steps after a freeze early in training delta went up to 0.9 and |rho| to 1.8; inverted images gave a delta of 2.
FROZEN_LIMITS = {Severity.WARN: (0.5, log(4), 3.0), Severity.BAD: (1.0, log(10), 4.0)}


def statistics_drift(evidence: Evidence) -> Iterable[Finding]:
    """Running averages that are not the population's."""
    needs_averages(evidence)
    if evidence.is_frozen:
        raise NotChecked("The statistics are frozen; frozen_shift looks at them.")
    weight = average_weight(evidence)
    reference = 1 / batches_of_population(evidence)
    found = list(drifts(evidence, "drift", weight=weight + reference, recorded=False))
    if not found:
        found = list(drifts(evidence, "drift", weight=weight + 1 / WINDOW, recorded=True))
    if not found:
        raise NotChecked("Neither an evaluation in mode `precise` nor a recorded step shows the population yet.")
    momentum = evidence.momentum
    is_slow = momentum is None or momentum < USUAL_MOMENTUM
    way = (
        f"In the next job take norm.momentum {USUAL_MOMENTUM:g}: it is "
        + ("null, which weighs the first batches as much as the last." if momentum is None else f"{momentum:g}.")
        if is_slow
        else "Where the weights still move fast at the end of a job, so do their statistics: lower optimizer.lr."
    )
    yield from about(
        found,
        code="statistics_drift",
        what="the running averages, which eval mode uses, are not the statistics of the data",
        advice="POST /v1/jobs/{id}/recalibrate estimates them anew for the final weights. " + way,
    )


def frozen_shift(evidence: Evidence) -> Iterable[Finding]:
    """Frozen statistics that are not those of the data that the norm sees."""
    if not evidence.is_frozen:
        raise NotChecked("No statistics are frozen.")
    # What a recorded step sees is one batch.
    found = list(drifts(evidence, "drift", weight=1.0, recorded=True, limits=FROZEN_LIMITS))
    if not found:
        raise NotChecked("No step with the batch's own statistics has been recorded since they were frozen.")
    yield from about(
        found,
        code="frozen_shift",
        what="the frozen statistics are not those of the batches that come",
        advice=_FROZEN_ADVICE[evidence.spec.norm.name == NormName.FROZEN_BATCH],
    )


#: By whether the norm was frozen from the start; then there is nothing to recalibrate.
_FROZEN_ADVICE = {
    True: "Take norm 'batch', which can be frozen later (norm.freeze_after), or one that needs no statistics, "
    "such as 'group'.",
    False: "Freeze later (norm.freeze_after), or at a lower optimizer.lr; POST /v1/jobs/{id}/recalibrate gives "
    "the final weights statistics of their own.",
}


def variance_overflow(evidence: Evidence) -> Iterable[Finding]:
    """Running variances that are no numbers any more, or beyond all measure."""
    needs_averages(evidence)
    worst = {site.name: ratio for site in evidence.sites if (ratio := _overflow(site)) is not None}
    if not worst:
        raise NotChecked(
            "No running variance has been recorded yet, or no evaluation in mode `precise` has estimated those of "
            "the population."
        )
    names = tuple(name for name, ratio in worst.items() if ratio > OVERFLOW)
    if names:
        largest = max(worst.values())
        yield Finding(
            code="variance_overflow",
            severity=Severity.BAD,
            sites=names,
            evidence={"ratio": largest, "limit": OVERFLOW},
            explanation=f"At {at(names)} the running variance is not finite, or {number(largest)} times that of "
            "the data: a batch with huge values went into the average. The training loss does not show it, eval "
            "mode does.",
            advice="POST /v1/jobs/{id}/recalibrate estimates the variances anew. Against the next time: precision "
            "'float32', or a lower optimizer.lr.",
        )


def _overflow(site: SiteEvidence) -> float | None:
    """The largest running variance relative to the population's; infinite where one is not finite.

    None where there is nothing to compare.
    A channel that died lately has a population variance of next to nothing, so it counts as at least the median;
    and up to 1 a running variance may be what it began with.
    """
    running = variances(site.newest, "eval")
    if running is None:
        return None
    if not np.isfinite(running).all():
        return float("inf")
    population = variances(site.evaluated, "population")
    if population is None or population.shape != running.shape:
        return None
    ratio = running / np.fmax(population, np.nanmedian(population))
    return float(np.nanmax(np.where(running > 1, ratio, 0.0)))


def constant_channel(evidence: Evidence) -> Iterable[Finding]:
    """Channels that hardly vary, which eps keeps from being normalized."""
    needs_averages(evidence)
    eps = eps_of(evidence)
    if not eps:
        raise NotChecked("The norm has no eps.")
    if evidence.spec.norm.name == NormName.LP_BATCH:
        raise NotChecked("Norm 'lp_batch' keeps scales, which tell no variance.")
    found = ((site.name, variances(site.newest, "eval", eps)) for site in evidence.sites)
    shares = {name: float((values < CONSTANT * eps).mean()) for name, values in found if values is not None}
    if not shares:
        raise NotChecked("No running variance has been recorded yet.")
    names = tuple(name for name, share in shares.items() if share > 0)
    if names:
        worst = max(names, key=shares.__getitem__)
        yield Finding(
            code="constant_channel",
            severity=Severity.WARN if shares[worst] > MANY else Severity.INFO,
            sites=names,
            evidence={"share": shares[worst], "limit": CONSTANT * eps, "deviation": sqrt(CONSTANT * eps)},
            explanation=f"At {at(names)} channels hardly vary: at {worst} {percent(shares[worst])} of them have a "
            f"variance below {CONSTANT:g} eps = {number(CONSTANT * eps)}. They are divided by the root of eps and "
            "come out near 0.",
            advice="If the inputs of the layer are meant to be so small, lower norm.eps or take a larger init; if "
            "not, look for dead units before it (optimizer.lr, init). Pixels that never change are harmless.",
        )


def needs_averages(evidence: Evidence) -> None:
    """Go on only where norms keep running averages.

    Raises:
        NotChecked: none does.
    """
    if not evidence.keeps_averages:
        raise NotChecked(f"Norm '{evidence.spec.norm.name}' keeps no running averages.")
