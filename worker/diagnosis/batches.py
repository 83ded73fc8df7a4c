"""Rules about the batches that norms see: whether they are large enough, and alike enough."""

from collections.abc import Iterable
from math import sqrt

import numpy as np

from db.spec.lints.base import Severity
from models.catalog.names import NormName
from worker.diagnosis.channels import varying
from worker.diagnosis.drift import statistic_noise as noise_of
from worker.diagnosis.evidence import Evidence
from worker.diagnosis.findings import Finding, NotChecked
from worker.diagnosis.words import at, number

#: Std_B(mu_B) / sigma from which on batch statistics are noisy, and very noisy: 16 and 4 independent values.
NOISY, VERY_NOISY = 0.25, 0.5
#: Below it batch means hardly move, and how they compare with others that hardly move says nothing: after a batch
#: norm the means of the next layer are all but the same in every batch.
CALM = 0.1
#: Most batches of either kind that an evaluation compares.
DRAWN = 16


def statistic_noise(evidence: Evidence) -> Iterable[Finding]:
    """Batch statistics that are estimates from too few values."""
    _needs_batch(evidence)
    if evidence.spec.norm.name == NormName.BATCH_RENORM:
        raise NotChecked("Batch renormalization corrects each batch towards the running averages.")
    noise = {site.name: found for site in evidence.sites if (found := noise_of(evidence, site)) is not None}
    if not noise:
        raise NotChecked("No batches have been compared yet, neither by an evaluation nor between steps.")
    names = tuple(name for name, value in noise.items() if value > NOISY)
    if not names:
        return
    worst = max(names, key=noise.__getitem__)
    yield Finding(
        code="statistic_noise",
        severity=Severity.BAD if noise[worst] > VERY_NOISY else Severity.WARN,
        sites=names,
        evidence={"noise": noise[worst], "effective_batch": noise[worst] ** -2, "limit": NOISY},
        explanation=f"At {at(names)} the statistics of a batch are noisy: at {worst} its mean moves by "
        f"{number(noise[worst])} standard deviations from batch to batch, as the mean of "
        f"{number(noise[worst] ** -2)} independent values does. The network trains on that noise and is used "
        "without it.",
        advice="Take a norm that does not use the batch (norm: {name: group}, or layer), or a larger batch_size"
        + (" or norm.size" if evidence.spec.norm.name == NormName.GHOST_BATCH else "")
        + "; accumulation does not help. Batch renormalization (norm: {name: batch_renorm}) is between the two.",
    )


def non_iid_batches(evidence: Evidence) -> Iterable[Finding]:
    """Batches that differ from one another more than random ones."""
    _needs_batch(evidence)
    ratios, limit = iid_ratios(evidence), iid_limit(evidence)
    if not ratios and not any(evidence.evaluated("noise.job")):
        raise NotChecked("No evaluation has compared the job's batches with shuffled ones yet.")
    names = tuple(name for name, value in ratios.items() if value > limit)
    if not names:
        return
    worst = max(names, key=ratios.__getitem__)
    asked = evidence.spec.dataset.classes_per_batch
    why = f" The job asks for it: dataset.classes_per_batch is {asked}." if asked else ""
    yield Finding(
        code="non_iid_batches",
        severity=Severity.WARN,
        sites=names,
        evidence={"ratio": ratios[worst], "limit": limit},
        explanation=f"At {at(names)} batches, as the job draws them, differ more than shuffled ones of the "
        f"same size: at {worst} their means have {number(ratios[worst])} times the variance. A batch is no fair "
        f"sample of the data, and what it has in common leaks through its statistics.{why}",
        advice="Shuffle the training data"
        + (" (dataset.classes_per_batch null)" if asked else "")
        + ", or take a norm that does not use the batch (norm: {name: layer}, or group).",
    )


def iid_ratios(evidence: Evidence) -> dict[str, float]:
    """Variance of the means of the job's batches over that of shuffled ones, by site."""
    ratios: dict[str, float] = {}
    for site, noise in evidence.evaluated("noise.job"):
        drawn = varying(evidence, site, noise)
        shuffled = varying(evidence, site, site.evaluated("noise.shuffled"))
        if drawn is not None and shuffled is not None and shuffled.max() > 0:
            variance = float(np.square(drawn).mean())
            if variance > CALM**2:
                ratios[site.name] = variance / float(np.square(shuffled).mean())
    return ratios


def iid_limit(evidence: Evidence) -> float:
    """What the ratio of two sample variances of so few batches hardly exceeds by chance.

    A sample variance of k normal values has a relative deviation of sqrt(2 / (k - 1)); of the 16 batches that are
    compared at most, this is 2.03.
    """
    drawn = min(DRAWN, evidence.spec.batches_per_epoch())
    shuffled = min(DRAWN, evidence.gap_samples // evidence.spec.batch_size)
    return 1 + 2 * sqrt(2 / max(1, drawn - 1) + 2 / max(1, shuffled - 1))


def _needs_batch(evidence: Evidence) -> None:
    if evidence.is_frozen:
        raise NotChecked("The statistics are frozen: train mode does not use the batch.")
    if not evidence.uses_batch:
        raise NotChecked(f"Norm '{evidence.spec.norm.name}' does not use the batch.")
