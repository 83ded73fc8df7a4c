"""What rules make of gradients and of steps: momentum, AdamW, branches that begin at nothing, divergence."""

from math import sqrt

import numpy as np
import pytest

from db.lease import Failure
from db.spec.lints.base import Severity
from db.status import FailureCode
from tests.worker.diagnosis.support import BRANCHED, CHANNELS, found, make_evidence, reason, status
from worker.diagnosis.findings import CheckStatus

#: At every layer and step; plain SGD with lr 0.5 has steps as long as the weights.
STEADY = {"layer.gradient_norm": 2.0, "layer.weight_norm": 1.0}


def test_a_layer_after_which_all_gradients_are_zero_learns_nothing():
    finding = found(make_evidence(columns={"layer.gradient_norm": 0.0}), "vanishing_gradients")
    assert finding.sites == ("norm1",)
    assert "nothing is learned" in finding.explanation


def test_a_gradient_that_is_not_finite_explodes():
    columns = {"norm1": {"layer.gradient_norm": 1.0}, "norm2": {"layer.gradient_norm": np.inf}}
    finding = found(make_evidence(by_site=columns), "exploding_gradients")
    assert (finding.severity, finding.sites[0]) == (Severity.BAD, "norm2")
    assert "before site norm2 is not a finite number" in finding.explanation


def test_the_finite_steps_before_a_divergence_are_judged():
    rows = np.array([[2.0]] * 6 + [[np.nan]] * 2)
    columns = {"layer.gradient_norm": rows, "layer.weight_norm": 1.0}
    finding = found(make_evidence(columns=columns, optimizer={"name": "SGD", "lr": 1.0}), "exploding_gradients")
    assert finding.evidence["step"] == 2.0


@pytest.mark.parametrize(("lr", "is_found"), [(0.49, False), (0.51, True)])
def test_a_step_longer_than_the_weights_explodes(lr, is_found):
    columns = {"layer.gradient_norm": 2.0, "layer.weight_norm": 1.0, "layer.effective_lr": lr}
    finding = found(make_evidence(columns=columns, optimizer={"name": "SGD", "lr": lr}), "exploding_gradients")
    assert (finding is not None) is is_found
    if finding is not None:
        assert finding.evidence["effective_lr"] == lr
        assert "try 0.05)" in finding.advice


@pytest.mark.parametrize(
    ("momentum", "step", "longer"), [(0.0, 1000, 1), (0.9, 1000, 10), (0.9, 4, 4), (1.0, 7, 7)]
)
def test_momentum_makes_steps_longer(momentum, step, longer):
    for lr, is_found in ((0.49 / longer, False), (0.51 / longer, True)):
        optimizer = {"name": "SGD", "lr": lr, "momentum": momentum}
        finding = found(make_evidence(columns=STEADY, optimizer=optimizer, step=step), "exploding_gradients")
        assert (finding is not None) is is_found
        if finding is not None:
            assert finding.evidence["step"] == pytest.approx(1.02)


def test_a_step_of_adamw_moves_each_weight_by_lr():
    # 64 inputs and 8 channels without a bias: 512 weights, whose root mean square is a tenth.
    columns = {"layer.gradient_norm": 1e-9, "layer.weight_norm": 0.1 * sqrt(64 * CHANNELS)}
    for lr, is_found in ((0.09, False), (0.11, True)):
        evidence = make_evidence(columns=columns, optimizer={"name": "AdamW", "lr": lr})
        finding = found(evidence, "exploding_gradients")
        assert (finding is not None) is is_found
        if finding is not None:
            assert finding.sites == ("norm1",)
            assert finding.evidence["step"] == pytest.approx(1.1)
            assert f"try {lr / 11:.1g})" in finding.advice


@pytest.mark.parametrize("optimizer", [{"name": "SGD", "lr": 1.0}, {"name": "AdamW", "lr": 1000.0}])
def test_the_rate_advised_is_that_of_the_first_row_before_everything_blew_up(optimizer):
    # At first a gradient of 5, and weights of a length of 1, whose root mean square is 1 / 22.6.
    growth = 10.0 ** np.arange(8)[:, None]
    columns = {"layer.gradient_norm": 5 * growth**2, "layer.weight_norm": growth}
    failure = Failure(code=FailureCode.DIVERGED, message="", hint="", step=8)
    evidence = make_evidence(columns=columns, optimizer=optimizer, failure=failure, step=8)
    finding = found(evidence, "exploding_gradients")
    assert f"try {0.02 if optimizer['name'] == 'SGD' else 0.004:g})" in finding.advice


def test_branches_that_begin_at_nothing_have_small_gradients_by_design():
    sizes = {"norm1": 1.0, "residual3.norm1": 1e-9}
    columns = {name: {"layer.gradient_norm": size, "layer.weight_norm": 1.0} for name, size in sizes.items()}
    evidence = {"by_site": columns, "architecture": BRANCHED}
    assert found(make_evidence(**evidence), "exploding_gradients") is not None
    by_design = make_evidence(norm={"name": "skip_init"}, **evidence)
    assert status(by_design, "vanishing_gradients") is CheckStatus.NOT_CHECKED
    assert "begin at 0" in reason(by_design, "vanishing_gradients")
    long = make_evidence(norm={"name": "skip_init"}, optimizer={"name": "SGD", "lr": 1.1}, **evidence)
    assert found(long, "exploding_gradients").sites == ("norm1",)


def test_noisy_batches_explain_gradients_that_vanish():
    columns = {"norm1": {"layer.gradient_norm": 1e-9}, "norm2": {"layer.gradient_norm": 1.0}}
    noisy = make_evidence(by_site=columns, evaluation={"noise.job": 0.4})
    assert found(noisy, "vanishing_gradients").because_of == "statistic_noise"
