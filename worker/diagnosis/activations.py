"""Rules about the values that flow: dead and saturated units, scales of nothing."""

from collections.abc import Iterable, Mapping

import numpy as np

from db.spec.lints.base import Severity
from worker.diagnosis.evidence import Evidence, Floats, SiteEvidence
from worker.diagnosis.findings import Finding, NotChecked
from worker.diagnosis.words import at, percent

#: Share of a site's channels that are 0 on every recorded value.
DEAD, MOSTLY_DEAD = 0.3, 0.6
#: Share of a site's values that are saturated: a sigmoid below 0.01 or above 0.99, or the same of a tanh.
SATURATED, MOSTLY_SATURATED = 0.5, 0.8
#: Values of each channel without which a unit that is 0 may only have had no occasion.
ENOUGH_VALUES = 128
#: Scales below this share of their site's median change nothing.
NEGLIGIBLE = 0.01


def dead_units(evidence: Evidence) -> Iterable[Finding]:
    """ReLU channels that are 0 whatever comes."""
    shares: dict[str, float] = {}
    recorded = 0
    for site, rows in evidence.rows("activation.zero"):
        recorded += 1
        if len(rows) * evidence.spec.batch_size * site.site.positions >= ENOUGH_VALUES:
            shares[site.name] = float((rows >= 1).all(axis=0).mean())
    if not shares:
        raise NotChecked(_missing("ReLU", recorded))
    yield from _units(
        shares,
        code="dead_units",
        limits=(DEAD, MOSTLY_DEAD),
        what="ReLU units are 0 on every recorded value, so that nothing is learned through them",
        evidence=evidence,
        advice="Lower optimizer.lr (it is {lr:g}; try {less:g}), choose a smaller init, or put a norm before the "
        "activation (norm.position before_activation).",
    )


def saturated_units(evidence: Evidence) -> Iterable[Finding]:
    """Sigmoids and tanhs that are flat where their inputs are."""
    shares = {site.name: float(np.nanmean(rows)) for site, rows in evidence.rows("activation.saturated")}
    if not shares:
        raise NotChecked(_missing("sigmoid or tanh", 0))
    yield from _units(
        shares,
        code="saturated_units",
        limits=(SATURATED, MOSTLY_SATURATED),
        what="values of the activation are in its flat ends, where the gradient is next to nothing",
        evidence=evidence,
        advice="Put a norm before the activation (norm: {{name: batch, position: before_activation}}), choose a "
        "smaller init, or lower optimizer.lr (it is {lr:g}; try {less:g}).",
    )


def _missing(activation: str, recorded: int) -> str:
    if recorded:
        return f"Fewer than {ENOUGH_VALUES} values of each channel have been recorded; lower statistics.every."
    return f"No shares of {activation} units have been recorded (statistics.details, statistics.every)."


def _units(
    shares: Mapping[str, float],
    *,
    code: str,
    limits: tuple[float, float],
    what: str,
    evidence: Evidence,
    advice: str,
) -> Iterable[Finding]:
    names = tuple(name for name, share in shares.items() if share > limits[0])
    if not names:
        return
    worst = max(names, key=shares.__getitem__)
    lr = evidence.spec.optimizer.lr
    yield Finding(
        code=code,
        severity=Severity.BAD if shares[worst] > limits[1] else Severity.WARN,
        sites=names,
        evidence={"share": shares[worst], "limit": limits[0]},
        explanation=f"At {at(names)} {what}: {percent(shares[worst])} of them at {worst}.",
        advice=advice.format(lr=lr, less=lr / 10),
    )


def scales(evidence: Evidence) -> Iterable[Finding]:
    """Channels that a norm has switched off, and scales that are no numbers any more."""
    sizes = {site.name: np.abs(gamma) for site in evidence.sites if (gamma := _newest_scales(site)) is not None}
    if not sizes:
        raise NotChecked("No scales have been recorded: the norm has none, or no step was recorded yet.")
    broken = _some({name: 1 - float(np.isfinite(size).mean()) for name, size in sizes.items()})
    if broken:
        names, worst, share = broken
        yield Finding(
            code="scale_not_finite",
            severity=Severity.BAD,
            sites=names,
            evidence={"share": share},
            explanation=f"At {at(names)} scales of the norm are not finite: those of {percent(share)} of the "
            f"channels of {worst}. The network has no output any more.",
            advice=f"Lower optimizer.lr (it is {evidence.spec.optimizer.lr:g}), or take precision 'float32'.",
        )
    known = {name: size for name, size in sizes.items() if np.isfinite(size).any()}
    off = _some({name: float((size < NEGLIGIBLE * np.nanmedian(size)).mean()) for name, size in known.items()})
    if off:
        names, worst, share = off
        yield Finding(
            code="scale_near_zero",
            severity=Severity.INFO,
            sites=names,
            evidence={"share": share, "limit": NEGLIGIBLE},
            explanation=f"At {at(names)} the norm has switched channels off: the scales of {percent(share)} of "
            f"the channels of {worst} are below a hundredth of the median. Such a channel is all but "
            "constant, its shift (beta).",
            advice="Such channels can be pruned and their constants folded into the next layer; that hardly "
            "changes the outputs. A narrower network may do.",
        )


def _newest_scales(site: SiteEvidence) -> Floats | None:
    """The last recorded row; unlike `SiteEvidence.newest` also where nothing of it is a number."""
    rows = site.columns.get("affine.gamma")
    return rows[-1] if rows is not None and rows.size else None


def _some(shares: Mapping[str, float]) -> tuple[tuple[str, ...], str, float] | None:
    """The sites with a share above 0, the worst of them and its share; none if there is no such site."""
    names = tuple(name for name, share in shares.items() if share > 0)
    worst = max(names, key=shares.__getitem__, default="")
    return (names, worst, shares[worst]) if names else None
