"""Rules about train mode against eval mode on the same samples: the decision table."""

from collections.abc import Iterable

import numpy as np

from db.spec.lints.base import Severity
from worker.diagnosis.batches import iid_limit, iid_ratios
from worker.diagnosis.evidence import Evidence
from worker.diagnosis.findings import Finding, NotChecked
from worker.diagnosis.scores import is_below, is_regression, score
from worker.diagnosis.statistics import needs_averages
from worker.diagnosis.words import number

#: The least gap that counts of what precise statistics alone change, and the standard deviations: the same weights
#: are scored on the same samples, so that chance does less than to two independent accuracies.
PRECISE_GAP, PRECISE_DEVIATIONS = 0.01, 1.0
#: A gap from which on a mode is broken rather than off.
BAD_GAP = 0.05


def mode_gap(evidence: Evidence) -> Iterable[Finding]:
    """Whether train and eval mode are one network, and if not, which of them is at fault."""
    _needs_two_modes(evidence)
    n = evidence.gap_samples
    evaluated, train = score(evidence, "gap/eval_mode"), score(evidence, "gap/train_mode")
    best, best_n, precise = *_best_train(evidence, train), _precise(evidence)
    numbers = {"eval_mode": evaluated, "train_mode": train, "best_train_mode": best}
    if precise is not None:
        numbers["precise"] = precise
    said = ", ".join(f"{name} {number(value)}" for name, value in numbers.items())
    if is_below(evidence, train, evaluated, n):
        yield _gap("batch_noise", evaluated - train, said, numbers)
    if not is_below(evidence, evaluated, best, best_n):
        return
    if precise is None:
        yield _gap("mode_gap", best - evaluated, said, numbers)
        return
    if is_below(evidence, evaluated, precise, n):
        yield _gap("stale_statistics", precise - evaluated, said, numbers)
    if is_below(evidence, precise, best, best_n):
        yield _gap("batch_dependence", best - precise, said, numbers)


#: What each row of the table says, and what to do.
_TABLE = {
    "batch_noise": (
        "In train mode, with statistics of the job's own batches, the network is worse than in eval mode on "
        "the same training samples: the batch is too small for its statistics",
        "Take a larger batch_size or a norm that does not use the batch (norm: {name: group}, or layer). Eval "
        "mode is what counts, but training fights the noise.",
    ),
    "mode_gap": (
        "The network is good in train mode and worse in eval mode on the same training samples; whether running "
        "averages or batches are at fault only precise statistics tell",
        "Add precise to evaluate.modes, or POST /v1/jobs/{id}/recalibrate and compare.",
    ),
    "stale_statistics": (
        "The network is good in train mode and with precise statistics, and worse in eval mode on the same "
        "training samples: the weights are fine, the running averages are not",
        "POST /v1/jobs/{id}/recalibrate gives the weights their own statistics. In the next job take a larger "
        "norm.momentum (0.1), or more steps.",
    ),
    "batch_dependence": (
        "The network is good only on batches like those it trains on; with precise statistics it is worse on "
        "the training data too: it has learned from what the samples of a batch have in common",
        "Recalibration does not help, only training anew: shuffled batches, a larger batch_size, or a norm that "
        "does not use the batch (norm: {name: group}, or layer).",
    ),
}


def _gap(code: str, gap: float, said: str, numbers: dict[str, float]) -> Finding:
    what, advice = _TABLE[code]
    severity = Severity.BAD if gap > BAD_GAP and code != "batch_noise" else Severity.WARN
    evidence = {"gap": gap, **numbers}
    return Finding(code=code, severity=severity, explanation=f"{what} ({said}).", advice=advice, evidence=evidence)


def _best_train(evidence: Evidence, train: float) -> tuple[float, int]:
    """The best score with batch statistics, and the samples behind it.

    Of batches of the job's size, of large ones, and, where the job draws its batches unlike random ones, of the
    last that it trained on. (Elsewhere these would only tell of weights that have moved since.)
    """
    found = [(train, evidence.gap_samples)]
    large = f"gap/train_mode_large/{'r2' if is_regression(evidence) else 'accuracy'}"
    if large in evidence.metrics and np.isfinite(evidence.metrics[large][1]):
        found.append((evidence.metrics[large][1], evidence.gap_samples))
    draws_otherwise = max(iid_ratios(evidence).values(), default=0.0) > iid_limit(evidence)
    if evidence.train_batches is not None and draws_otherwise:
        samples, value = evidence.train_batches
        found.append((value, samples))
    return max(found)


def _precise(evidence: Evidence) -> float | None:
    try:
        return score(evidence, "gap/precise")
    except NotChecked:
        return None


def _needs_two_modes(evidence: Evidence) -> None:
    needs_averages(evidence)
    if not evidence.uses_batch:
        raise NotChecked("Train mode uses the stored statistics too: there is one mode.")


def precise_gap(evidence: Evidence) -> Iterable[Finding]:
    """What precise statistics in place of the running averages would gain."""
    needs_averages(evidence)
    evaluated, precise = score(evidence, "gap/eval_mode"), score(evidence, "gap/precise")
    limits = {"least": PRECISE_GAP, "deviations": PRECISE_DEVIATIONS}
    if not is_below(evidence, evaluated, precise, evidence.gap_samples, **limits):
        return
    gap = precise - evaluated
    yield Finding(
        code="precise_gap",
        severity=Severity.BAD if gap > BAD_GAP else Severity.WARN,
        evidence={"gap": gap, "eval_mode": evaluated, "precise": precise},
        explanation=f"With population statistics in place of the running averages the same weights score "
        f"{number(precise)} on the training subset, with the running averages {number(evaluated)}.",
        advice="Publish the model with precise statistics: POST /v1/jobs/{id}/recalibrate, then "
        "/v1/jobs/{id}/model?statistics=precise.",
    )


def gaps_if_any(evidence: Evidence) -> list[Finding]:
    """The gaps of the table; none where it could not be looked up."""
    try:
        return list(mode_gap(evidence))
    except NotChecked:
        return []
