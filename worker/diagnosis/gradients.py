"""Rules about the sizes of gradients from layer to layer."""

from collections.abc import Iterable, Mapping

import numpy as np

from db.spec.lints.base import Severity
from worker.diagnosis.evidence import Evidence, Floats
from worker.diagnosis.findings import Finding, NotChecked
from worker.diagnosis.words import number

#: Largest over smallest norm of the gradients of the layers' weights.
RATIO, EXTREME_RATIO = 1e3, 1e6
#: Length of a step relative to that of the weights that it changes.
STEP = 1.0


def sizes_of_gradients(evidence: Evidence) -> Iterable[Finding]:
    """Gradients that grow or shrink beyond measure on their way back to the input, or make steps too long."""
    norms = _medians(evidence, "layer.gradient_norm")
    if len(norms) < 2:
        raise NotChecked(
            "Gradients of fewer than two layers were recorded (statistics.details, statistics.every)."
        )
    uneven = _uneven(evidence, norms)
    found = uneven or _long_steps(evidence, norms)
    return [] if found is None else [found]


def _medians(evidence: Evidence, column: str) -> dict[str, float]:
    """Of the last recorded steps whose numbers are finite; infinite where none is."""
    finite = ((site.name, rows[np.isfinite(rows)]) for site, rows in evidence.rows(column))
    return {name: float(np.median(sizes)) if sizes.size else np.inf for name, sizes in finite}


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
        advice=_advice(evidence, explodes=explodes),
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


def _long_steps(evidence: Evidence, norms: Mapping[str, float]) -> Finding | None:
    """Of plain SGD, whose step is lr times the gradient: a step longer than the weights."""
    if evidence.spec.optimizer.name != "SGD":
        return None
    lr, weights = evidence.spec.optimizer.lr, _medians(evidence, "layer.weight_norm")
    steps = {name: lr * norms[name] / size for name, size in weights.items() if size > 0 and name in norms}
    name = max(steps, key=steps.__getitem__, default="")
    if not name or steps[name] <= STEP:
        return None
    return Finding(
        code="exploding_gradients",
        severity=Severity.BAD,
        sites=(name,),
        evidence={"step": steps[name], "limit": STEP, **_effective_lr(evidence, name)},
        explanation=f"Before site {name} a step of the optimizer is {number(steps[name])} times as long as the "
        "weights that it changes (medians of the last recorded steps): what they had learned is gone after it.",
        advice=_advice(evidence, explodes=True, too_large=10 * steps[name]),
    )


def _effective_lr(evidence: Evidence, name: str) -> dict[str, float]:
    """Of one layer: lr / ||w||^2, how fast the direction of weights before a norm changes."""
    found = {site.name: float(row[0]) for site, row in evidence.newest("layer.effective_lr")}
    return {"effective_lr": found[name]} if name in found else {}


def _advice(evidence: Evidence, *, explodes: bool, too_large: float = 10.0) -> str:
    norm, lr = evidence.spec.norm.name, evidence.spec.optimizer.lr
    ways = ["put a norm at each layer (norm: {name: batch}, or layer)"] if norm == "none" else []
    ways.append(
        "choose an init that keeps the size of values (kaiming_normal for ReLU, xavier_normal for sigmoid)"
    )
    if explodes:
        ways.append(f"lower optimizer.lr (it is {lr:g}; try {lr / too_large:.1g})")
    text = ", or ".join(ways)
    return text[0].upper() + text[1:] + "."
