"""Every rule finds its fault just above its limit, and is silent just below it."""

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
import pytest

from db.spec.lints.base import Severity
from tests.worker.diagnosis.support import CHANNELS, found, make_evidence, status
from worker.diagnosis import activations, batches, generalization, gradients, modes, statistics
from worker.diagnosis.evidence import Evidence
from worker.diagnosis.findings import CheckStatus
from worker.diagnosis.rules import RULES

#: So many that chance is far below the fixed limits.
LARGE = {"batch_size": 400}
GAPS = {"eval_mode": 0.9, "train_mode": 0.9, "train_mode_large": 0.9, "precise": 0.9}


def chance_gap(first: int, second: int) -> float:
    """The gap x below an accuracy of 0.9 that is twice its own standard deviation over so many samples."""
    x = 0.02
    for _ in range(50):
        p = 0.9 - x / 2
        x = 2 * sqrt(p * (1 - p) * (1 / first + 1 / second))
    return max(0.02, x)


GAP = chance_gap(1437, 1437)


def gaps(**values: float) -> dict[str, float]:
    return {f"gap/{name}/accuracy": value for name, value in (GAPS | values).items()} | {"test/accuracy": 0.9}


def dead(share: float) -> np.ndarray:
    return (np.arange(CHANNELS) < round(share * CHANNELS)).astype(float)


def rows_of(share: float) -> np.ndarray:
    """One channel of eight has so much of the variance or scale that the others have."""
    return np.array([share, *[1.0] * (CHANNELS - 1)])


MAKERS: dict[str, tuple[Callable[[float], Evidence], float]] = {
    "stale_statistics": (lambda x: make_evidence(metrics=gaps(eval_mode=0.9 - x)), GAP),
    "batch_dependence": (lambda x: make_evidence(metrics=gaps(eval_mode=0.9 - x, precise=0.9 - x)), GAP),
    "batch_noise": (lambda x: make_evidence(metrics=gaps(train_mode=0.9 - x)), GAP),
    "mode_gap": (
        lambda x: make_evidence(metrics={k: v for k, v in gaps(eval_mode=0.9 - x).items() if "precise" not in k}),
        GAP,
    ),
    "precise_gap": (
        lambda x: make_evidence(
            metrics={f"gap/{name}/r2": value for name, value in (("eval_mode", 0.9 - x), ("precise", 0.9))},
            dataset={"name": "gaussian_linear"},
        ),
        modes.PRECISE_GAP,
    ),
    "generalization_gap": (
        lambda x: make_evidence(metrics=gaps() | {"test/accuracy": 0.9 - x}),
        chance_gap(1437, 360),
    ),
    "test_shift": (lambda x: make_evidence(evaluation={"test.delta": x}), generalization.SHIFT),
    "statistics_drift": (lambda x: make_evidence(evaluation={"drift.delta": x, "drift.rho": 0.0}, **LARGE), 0.12),
    "init_residue": (
        lambda x: make_evidence(norm={"name": "batch", "momentum": 1 - x ** (1 / 1000)}),
        0.01,
    ),
    "frozen_shift": (
        lambda x: make_evidence(columns={"drift.delta": x}, norm={"name": "frozen_batch"}, batch_size=1437),
        0.5,
    ),
    "variance_overflow": (
        lambda x: make_evidence(columns={"eval.var": x}, evaluation={"population.var": 1.0}),
        statistics.OVERFLOW,
    ),
    "constant_channel": (lambda x: make_evidence(columns={"eval.var": rows_of(1e-4 / x)}), 1.0),
    "ema_statistics": (
        lambda x: make_evidence(evaluation={"ema.delta": 0.0, "ema.rho": -x}, ema={"decay": 0.99}, **LARGE),
        0.15,
    ),
    "statistic_noise": (lambda x: make_evidence(evaluation={"noise.job": x}), batches.NOISY),
    "non_iid_batches": (
        lambda x: make_evidence(evaluation={"noise.job": 0.1 * sqrt(x), "noise.shuffled": 0.1}),
        1 + 2 * sqrt(2 / 15 + 2 / 15),
    ),
    "saturated_units": (lambda x: make_evidence(columns={"activation.saturated": x}), activations.SATURATED),
    # A share of the channels, of which one in eight is enough.
    "scale_not_finite": (lambda x: make_evidence(columns={"affine.gamma": rows_of(np.inf if x > 1 else x)}), 1.0),
    "scale_near_zero": (lambda x: make_evidence(columns={"affine.gamma": rows_of(0.01 / x)}), 1.0),
    "exploding_gradients": (
        lambda x: make_evidence(
            by_site={"norm1": {"layer.gradient_norm": x}, "norm2": {"layer.gradient_norm": 1.0}}
        ),
        gradients.RATIO,
    ),
    "vanishing_gradients": (
        lambda x: make_evidence(
            by_site={"norm1": {"layer.gradient_norm": 1.0}, "norm2": {"layer.gradient_norm": x}}
        ),
        gradients.RATIO,
    ),
}
#: In shares of eight channels: two are below 30 %, three above.
STEPS = {"dead_units": (lambda x: make_evidence(columns={"activation.zero": dead(x)}), 2 / 8, 3 / 8)}


@pytest.mark.parametrize("code", MAKERS)
def test_a_rule_finds_its_fault_above_its_limit_and_not_below(code):
    make, limit = MAKERS[code]
    _assert_limit(code, make(0.99 * limit), make(1.01 * limit))


@pytest.mark.parametrize("code", STEPS)
def test_a_rule_of_shares_of_channels_does_too(code):
    make, below, above = STEPS[code]
    _assert_limit(code, make(below), make(above))


def _assert_limit(code: str, below: Evidence, above: Evidence) -> None:
    assert found(below, code) is None
    assert status(below, code) is CheckStatus.PASSED
    finding = found(above, code)
    assert finding is not None
    assert status(above, code) is CheckStatus.FOUND
    assert finding.explanation
    assert finding.advice
    assert finding.evidence


def test_every_code_but_the_lints_has_its_limit_tested():
    assert {code for rule in RULES[:-1] for code in rule.codes} == {*MAKERS, *STEPS}


SEVERE: list[tuple[str, dict[str, Any]]] = [
    ("statistics_drift", {"evaluation": {"drift.delta": 0.21}} | LARGE),
    ("statistics_drift", {"evaluation": {"drift.rho": -0.31}} | LARGE),
    ("statistic_noise", {"evaluation": {"noise.job": 0.51}}),
    ("dead_units", {"columns": {"activation.zero": dead(5 / 8)}}),
    ("saturated_units", {"columns": {"activation.saturated": 0.81}}),
    ("test_shift", {"evaluation": {"test.delta": 0.51}}),
    ("variance_overflow", {"columns": {"eval.var": np.inf}}),
    ("scale_not_finite", {"columns": {"affine.gamma": np.nan}}),
    ("stale_statistics", {"metrics": gaps(eval_mode=0.84)}),
    ("batch_dependence", {"metrics": gaps(eval_mode=0.84, precise=0.84)}),
    ("init_residue", {"norm": {"name": "batch", "momentum": 0.001}}),
]


@pytest.mark.parametrize(("code", "changes"), SEVERE, ids=lambda value: str(value)[:40])
def test_what_is_far_beyond_its_limit_is_bad(code, changes):
    finding = found(make_evidence(**changes), code)
    assert finding is not None
    assert finding.severity is Severity.BAD
