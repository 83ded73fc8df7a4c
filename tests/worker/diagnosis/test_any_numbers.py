"""Whatever a job recorded, its diagnosis can be made and is well formed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalog.registry import norms
from tests.worker.diagnosis.support import BRANCHED, make_evidence
from tests.worker.networks import OPTIONS
from worker.diagnosis.diagnose import diagnose
from worker.diagnosis.findings import CheckStatus
from worker.diagnosis.rules import CODES, FAILED

NUMBERS = st.sampled_from([0.0, -0.0, 1.0, 0.3, -2.0, 1e-30, 1e30, float("inf"), float("-inf"), float("nan")])
COLUMNS = (
    "train.mean",
    "train.var",
    "eval.var",
    "eval.std",
    "eval.scale",
    "drift.delta",
    "drift.rho",
    "noise.mean",
    "affine.gamma",
    "activation.zero",
    "activation.saturated",
    "layer.gradient_norm",
    "layer.weight_norm",
    "layer.effective_lr",
)
EVALUATION = (
    "population.var",
    "population.std",
    "drift.delta",
    "drift.rho",
    "noise.job",
    "noise.shuffled",
    "test.delta",
    "ema.delta",
    "ema.rho",
)
METRICS = tuple(f"gap/{mode}/accuracy" for mode in ("eval_mode", "train_mode", "train_mode_large", "precise"))


def some(names):
    return st.dictionaries(st.sampled_from(names), NUMBERS)


@pytest.mark.parametrize("norm", norms())
@settings(max_examples=10)
@given(
    columns=some(COLUMNS), first=some(COLUMNS), evaluation=some(EVALUATION), metrics=some(METRICS), data=st.data()
)
def test_any_numbers_have_a_diagnosis(norm, columns, first, evaluation, metrics, data):
    evidence = make_evidence(
        columns=columns,
        by_site={"norm1": first},
        evaluation=evaluation,
        metrics=metrics | {"test/accuracy": 0.5},
        norm={"name": norm, **OPTIONS.get(norm, {})},
        architecture=BRANCHED,
        ema={"decay": 0.9},
        step=data.draw(st.integers(0, 1000)),
        train_batches=data.draw(st.none() | st.tuples(st.just(64), st.floats(0, 1))),
    )
    diagnosis = diagnose(evidence)
    assert FAILED not in [check.reason for check in diagnosis.checked]
    assert diagnosis.summary
    found = [finding.code for finding in diagnosis.findings]
    assert len(set(found)) == len(found)
    assert set(found) <= set(CODES)
    checks = [check for check in diagnosis.checked if check.status is CheckStatus.FOUND]
    assert set(found) <= {code for check in checks for code in check.codes}
    assert all(bool(check.reason) is (check.status is CheckStatus.NOT_CHECKED) for check in diagnosis.checked)
    assert all(finding.because_of in [None, *found] for finding in diagnosis.findings)
    assert {site for finding in diagnosis.findings for site in finding.sites} <= {"norm1", "residual3.norm1"}
