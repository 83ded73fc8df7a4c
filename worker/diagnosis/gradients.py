"""Rules about the sizes of gradients from layer to layer."""

from collections.abc import Iterable, Mapping

import numpy as np

from db.spec.lints.base import Severity
from db.status import FailureCode
from models.catalog.names import NormName
from worker.diagnosis.evidence import Evidence, Floats
from worker.diagnosis.findings import Finding, NotChecked
from worker.diagnosis.steps import earliest_steps, last_steps, medians
from worker.diagnosis.words import number

#: Largest over smallest norm of the gradients of the layers' weights.
RATIO, EXTREME_RATIO = 1e3, 1e6
#: Length of a step relative to that of the weights that it changes.
STEP = 1.0


def sizes_of_gradients(evidence: Evidence) -> Iterable[Finding]:
    """Gradients that grow or shrink beyond measure on their way back to the input, or make steps too long."""
    norms = medians(evidence, "layer.gradient_norm")
    if len(norms) < 2:
        raise NotChecked(
            "Gradients of fewer than two layers were recorded (statistics.details, statistics.every)."
        )
    too_long = _long_step(evidence)
    if evidence.spec.norm.name == NormName.SKIP_INIT:
        if too_long is None:
            raise NotChecked(
                "Steps are shorter than the weights; gradients are not compared, as norm 'skip_init' multiplies "
                "branches by scalars that begin at 0, which keeps their gradients small by design."
            )
        return [too_long]
    found = [finding for finding in (_uneven(evidence, norms), too_long) if finding is not None]
    # Each code once; of two reasons for it the first.
    return {finding.code: finding for finding in reversed(found)}.values()


def _uneven(evidence: Evidence, norms: Mapping[str, float]) -> Finding | None:
    names, sizes = list(norms), np.array(list(norms.values()))
    ratio = _ratio(sizes)
    if ratio <= RATIO:
        return None
    largest, smallest = int(np.argmax(sizes)), int(np.argmin(sizes))
    # Sites stand in the order of the network: towards the input is to the left.
    explodes = largest < smallest or not np.isfinite(sizes).all()
    return Finding(
        code="exploding_gradients" if explodes else "vanishing_gradients",
        severity=Severity.BAD if ratio > EXTREME_RATIO else Severity.WARN,
        sites=tuple(dict.fromkeys((names[largest], names[smallest]))),
        evidence={"ratio": ratio, "limit": RATIO, **_effective_lr(evidence, names[largest])},
        explanation=_explanation(names[largest], names[smallest], ratio, explodes=explodes),
        advice=_advice(evidence, names[largest], explodes=explodes),
    )


def _ratio(sizes: Floats) -> float:
    """The largest over the smallest size; infinite where one is not finite, or one is 0."""
    if not np.isfinite(sizes).all() or sizes.min() == 0:
        return float("inf")
    return float(sizes.max() / sizes.min())


def _explanation(largest: str, smallest: str, ratio: float, *, explodes: bool) -> str:
    if explodes and not np.isfinite(ratio):
        return f"The gradient of the weights before site {largest} is not a finite number any more."
    if largest == smallest:
        return "The gradient of the weights is 0 before every site: nothing is learned any more."
    what = "grows" if explodes else "all but vanishes"
    return (
        f"The gradient of the weights is {number(ratio)} times as large before site {largest} as before site "
        f"{smallest} (medians of the last recorded steps): it {what} on its way back to the input, so that no one "
        "learning rate suits all layers."
    )


def _long_step(evidence: Evidence) -> Finding | None:
    """A step longer than the weights."""
    looks = [("medians of the last recorded steps", last_steps(evidence))]
    if evidence.failure is not None and evidence.failure.code is FailureCode.DIVERGED:
        # In the last rows of a job that diverged the weights have grown with the steps.
        looks.append(("at the earliest of the last recorded steps", earliest_steps(evidence)))
    for when, steps in looks:
        name = max(steps, key=steps.__getitem__, default="")
        if name and steps[name] > STEP:
            return _too_long(evidence, name, steps[name], when)
    return None


def _too_long(evidence: Evidence, name: str, step: float, when: str) -> Finding:
    return Finding(
        code="exploding_gradients",
        severity=Severity.BAD,
        sites=(name,),
        evidence={"step": step, "limit": STEP, **_effective_lr(evidence, name)},
        explanation=f"Before site {name} a step of the optimizer is {number(step)} times as long as the weights "
        f"that it changes ({when}): what they had learned is gone after it.",
        advice=_advice(evidence, name, explodes=True),
    )


def _effective_lr(evidence: Evidence, name: str) -> dict[str, float]:
    """Of one layer: lr / ||w||^2, how fast the direction of weights before a norm changes."""
    found = {site.name: float(row[0]) for site, row in evidence.newest("layer.effective_lr")}
    return {"effective_lr": found[name]} if name in found else {}


def _advice(evidence: Evidence, name: str, *, explodes: bool) -> str:
    norm, lr = evidence.spec.norm.name, evidence.spec.optimizer.lr
    ways = ["put a norm at each layer (norm: {name: batch}, or layer)"] if norm == NormName.NONE else []
    ways.append(
        "choose an init that keeps the size of values (kaiming_normal for ReLU, xavier_normal for sigmoid)"
    )
    if explodes:
        # Steps a tenth as long as the weights, as these were before anything blew up.
        less = lr / (10 * max(1.0, earliest_steps(evidence).get(name, 1.0)))
        ways.append(f"lower optimizer.lr (it is {lr:g}; try {less:.1g})")
    text = ", or ".join(ways)
    return text[0].upper() + text[1:] + "."
