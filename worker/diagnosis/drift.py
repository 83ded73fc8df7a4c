"""How far stored statistics are from those of the data, and how far they would be by chance alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np

from db.spec.lints.base import Severity
from worker.diagnosis.channels import varying
from worker.diagnosis.evidence import Evidence, SiteEvidence
from worker.diagnosis.findings import Finding
from worker.diagnosis.words import at, number

#: Largest delta = |mean_run - mean_pop| / sigma_pop and |rho| = |ln(var_run / var_pop)| as means over the channels
#: of a site. Healthy averages (momentum 0.1) stay below 0.06 and 0.03; momentum 0.001 gives a delta of 0.17 to
#: 0.24 after 1000 steps. Where chance alone does more, so many of its standard deviations.
LIMITS: "Limits" = {Severity.WARN: (0.12, 0.15, 3.0), Severity.BAD: (0.2, 0.3, 4.0)}
Limits = Mapping[Severity, tuple[float, float, float]]
#: Fourth standardized moment of the values of a channel; 3 is the normal distribution's.
KURTOSIS = 3.0
#: |rho| from which on a factor is no longer told.
BEYOND = 20.0
#: Batches before a recorded step whose moments are the population there.
WINDOW = 16


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Of one site: means of |delta| and |rho| over its channels, and Std(delta) of a healthy channel by chance."""

    site: str
    delta: float
    rho: float
    noise: float
    limits: Limits = field(default_factory=lambda: LIMITS, repr=False)

    @property
    def severity(self) -> Severity | None:
        """None within what is healthy."""
        return next((level for level in (Severity.BAD, Severity.WARN) if self.excess(level) > 1), None)

    def excess(self, level: Severity) -> float:
        """How many times the limit of a level the drift is."""
        delta, rho, deviations = self.limits[level]
        # Std(rho) is Std(delta) times the root of kurtosis - 1.
        return max(
            self.delta / max(delta, deviations * self.noise),
            self.rho / max(rho, deviations * self.noise * sqrt(KURTOSIS - 1)),
        )

    def evidence(self) -> dict[str, float]:
        """The numbers of a finding."""
        return {"delta": self.delta, "rho": self.rho, "chance": self.noise}


def drifts(
    evidence: Evidence, name: str, *, weight: float, recorded: bool, limits: Limits = LIMITS
) -> Iterator[Drift]:
    """The drift of each site that has one, by the last recorded rows or else by the last evaluation.

    `name` is the group of the numbers (`drift`, `ema`). `weight` is the variance of an average relative to that of
    one batch's moment.
    """
    for site in evidence.sites:
        read = site.newest if recorded else site.evaluated
        found = [varying(evidence, site, read(f"{name}.{quantity}")) for quantity in ("delta", "rho")]
        if any(values is not None for values in found):
            delta, rho = (0.0 if values is None else float(np.abs(values).mean()) for values in found)
            noise = sqrt(weight / effective_values(evidence, site))
            yield Drift(site=site.name, delta=delta, rho=rho, noise=noise, limits=limits)


def about(found: Sequence[Drift], *, code: str, what: str, advice: str) -> Iterator[Finding]:
    """One finding on all sites that have drifted, if there are any; `what` says it of them in words."""
    drifted = [drift for drift in found if drift.severity is not None]
    if not drifted:
        return
    worst = max(drifted, key=lambda drift: drift.excess(Severity.WARN))
    names = tuple(drift.site for drift in drifted)
    factor = f"a factor of {number(float(np.exp(worst.rho)))}" if worst.rho < BEYOND else "beyond all measure"
    yield Finding(
        code=code,
        severity=max((drift.severity or Severity.INFO for drift in drifted), key=lambda level: level.rank),
        sites=names,
        evidence=worst.evidence(),
        explanation=f"At {at(names)} {what}. At {worst.site} the means are {number(worst.delta)} standard "
        f"deviations and the variances {factor} away, as means over the channels; by chance "
        f"alone the mean of a channel is some {number(worst.noise)} away.",
        advice=advice,
    )


def average_weight(evidence: Evidence) -> float:
    """Variance of a running average of independent batches, relative to that of one batch's moment.

    momentum / (2 - momentum) for an exponential average, 1 / n for one that weighs n batches the same.
    """
    momentum = evidence.momentum
    return 1 / max(1, evidence.updates) if momentum is None else momentum / (2 - momentum)


def effective_values(evidence: Evidence, site: SiteEvidence) -> float:
    """Independent values of a channel in a batch (or chunk): as many as there are, or as its noise shows.

    The positions of an image are no independent values: Var_B(mu_B) = sigma^2 / n counts those that are.
    """
    values = float(evidence.values(site.site))
    noise = statistic_noise(evidence, site)
    return values if noise is None or noise == 0 else max(1.0, min(values, noise**-2))


def statistic_noise(evidence: Evidence, site: SiteEvidence) -> float | None:
    """Std_B(mu_B) / sigma over what is normalized together, root mean square over channels.

    Measured with frozen weights by the last evaluation, or else between the batches before the last recorded step;
    of ghost batch norm both are those of a chunk.
    """
    values = site.evaluated("noise.job")
    values = varying(evidence, site, site.newest("noise.mean") if values is None else values)
    if values is None:
        return None
    return sqrt(float(np.square(values).mean()))


def batches_of_population(evidence: Evidence) -> float:
    """Batches of the job's size in the training subset, from which an evaluation estimates the population."""
    return max(1.0, evidence.gap_samples / evidence.spec.batch_size)
