"""Which channels of a site are judged: those that vary by more than eps and rounding."""

from collections.abc import Callable

import numpy as np

from worker.diagnosis.evidence import Evidence, Floats, SiteEvidence

#: A channel whose variance is below so many eps is divided by eps rather than by its own deviation.
CONSTANT = 10.0
#: Deviations below this share of the mean are mostly rounding in float32, whose own is 6e-8.
ROUNDING = 1e-5


def eps_of(evidence: Evidence) -> float:
    """What the norm adds to a variance or scale; 0 where it adds nothing, or (`rms`) what the number type says."""
    eps: float | None = getattr(evidence.spec.norm, "eps", None)
    return eps or 0.0


def variances(read: Callable[[str], Floats | None], group: str, eps: float = 0.0) -> Floats | None:
    """A site's variances: as they are kept, or by the deviations or scales that a norm keeps.

    `eps` is what such a deviation's square holds beside the variance, as that of batch renormalization does.
    """
    variance = read(f"{group}.var")
    if variance is not None:
        return variance
    deviation = read(f"{group}.std")
    if deviation is not None:
        return np.maximum(np.square(deviation) - eps, 0.0)
    scale = read(f"{group}.scale")
    return None if scale is None else np.square(scale)


def varying(evidence: Evidence, site: SiteEvidence, values: Floats | None) -> Floats | None:
    """The values of the channels that vary; none if no channel does.

    What is measured in deviations says nothing of a channel that has next to none: a pixel that never changes, a
    dead unit. Eps rules what a norm makes of it.
    """
    if values is None:
        return None
    eps = eps_of(evidence)
    kept = np.isfinite(values)
    for read, group in ((site.evaluated, "population"), (site.newest, "eval"), (site.newest, "train")):
        variance, mean = variances(read, group, eps), read(f"{group}.mean")
        # A norm of groups or samples has other moments than those of channels.
        if variance is not None and variance.shape == values.shape:
            rounding = 0.0 if mean is None else np.square(ROUNDING * mean)
            kept = variance > np.maximum(CONSTANT * eps, rounding)
            break
    chosen = values[kept & ~np.isnan(values)]
    return chosen if chosen.size else None
