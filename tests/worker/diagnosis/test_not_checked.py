"""What could not be checked is not passed off as healthy, and says why."""

import pytest

from db.lease import Failure
from db.spec.lints.base import Severity
from db.status import FailureCode
from tests.worker.diagnosis.support import codes, make_evidence, reason, status
from worker.diagnosis.diagnose import diagnose
from worker.diagnosis.findings import CheckStatus
from worker.diagnosis.rules import FAILED, RULES, Rule

NOT_CHECKED, PASSED = CheckStatus.NOT_CHECKED, CheckStatus.PASSED


@pytest.mark.parametrize("norm", ["batch", "layer", "none", "frozen_batch", "evonorm_b0", "batch_renorm"])
def test_a_job_that_has_recorded_nothing_has_only_its_spec_checked(norm):
    evidence = make_evidence(
        step=0, final=False, norm={"name": norm}, architecture={"name": "cnn", "channels": [4, 4]}, steps=1000
    )
    diagnosis = diagnose(evidence)
    checked = [check for check in diagnosis.checked if check.status is not NOT_CHECKED]
    assert [check.codes for check in checked] == [RULES[-1].codes]
    assert all(check.reason for check in diagnosis.checked if check.status is NOT_CHECKED)
    assert not diagnosis.final
    serious = [finding.code for finding in diagnosis.findings if finding.severity is not Severity.INFO]
    said = f": {serious[0]};" if serious else " nothing could be checked yet but the spec"
    assert diagnosis.summary.startswith(f"At step 0{said}")


def test_every_rule_has_one_check_with_its_codes():
    diagnosis = diagnose(make_evidence())
    assert [check.codes for check in diagnosis.checked] == [rule.codes for rule in RULES]
    assert len({check.check for check in diagnosis.checked}) == len(RULES)


@pytest.mark.parametrize(
    ("code", "changes", "words"),
    [
        ("stale_statistics", {}, "There is no gap/eval_mode/accuracy yet"),
        ("stale_statistics", {"metrics": {"gap/eval_mode/accuracy": float("nan")}}, "not a finite number"),
        ("stale_statistics", {"norm": {"name": "layer"}}, "'layer' keeps no running averages"),
        ("stale_statistics", {"norm": {"name": "frozen_batch"}}, "there is one mode"),
        ("stale_statistics", {"norm": {"name": "batch", "track": False}}, "keeps no running averages"),
        ("statistics_drift", {"norm": {"name": "batch", "freeze_after": 10}}, "frozen"),
        ("frozen_shift", {}, "No statistics are frozen"),
        ("init_residue", {"norm": {"name": "batch", "momentum": None}}, "no residue"),
        ("statistic_noise", {"norm": {"name": "group", "groups": 2}}, "does not use the batch"),
        ("statistic_noise", {"norm": {"name": "batch_renorm"}, "evaluation": {"noise.job": 1.0}}, "corrects"),
        ("statistic_noise", {"norm": {"name": "batch", "freeze_after": 10}}, "frozen"),
        ("ema_statistics", {}, "averages no weights"),
        ("ema_statistics", {"ema": {"decay": 0.9}}, "has measured the averaged model"),
        ("variance_overflow", {}, "No running variance has been recorded"),
        ("variance_overflow", {"columns": {"eval.var": 1e6}}, "no evaluation in mode `precise`"),
        ("constant_channel", {"norm": {"name": "lp_batch"}, "columns": {"eval.scale": 0.0}}, "tell no variance"),
        ("dead_units", {"columns": {"activation.zero": 1.0}, "rows": 3}, "Fewer than 128 values"),
        ("vanishing_gradients", {}, "fewer than two layers"),
        ("generalization_gap", {}, "There is no gap/eval_mode/accuracy"),
        ("test_shift", {"evaluation": {"test.delta": float("inf")}}, "No evaluation has compared"),
    ],
)
def test_what_is_missing_is_named(code, changes, words):
    evidence = make_evidence(**changes)
    assert status(evidence, code) is NOT_CHECKED
    assert words in reason(evidence, code)
    assert code not in codes(diagnose(evidence))


def test_numbers_that_are_all_nan_are_missing():
    evidence = make_evidence(evaluation={"noise.job": float("nan")}, columns={"noise.mean": float("nan")})
    assert status(evidence, "statistic_noise") is NOT_CHECKED


def test_a_generalization_gap_is_not_judged_where_eval_mode_is_at_fault_already():
    scores = {"eval_mode": 0.5, "train_mode": 0.9, "precise": 0.9}
    metrics = {f"gap/{name}/accuracy": value for name, value in scores.items()} | {"test/accuracy": 0.3}
    assert status(make_evidence(metrics=metrics), "generalization_gap") is NOT_CHECKED


@pytest.mark.parametrize(("codes", "words"), [({}, "nothing was found"), ({"test.delta": 0.3}, "test_shift")])
def test_the_summary_is_one_sentence_that_names_what_needs_mending(codes, words):
    summary = diagnose(make_evidence(evaluation=codes)).summary
    assert words in summary
    assert summary.endswith(".")
    assert "lacked their numbers" in summary


NOTHING = {"test.delta": 0.0}


@pytest.mark.parametrize(
    ("step", "changes", "words"),
    [
        (8, {"evaluation": NOTHING}, "The job failed (diverged at step 8); nothing was found that explains it;"),
        (
            8,
            {"evaluation": {"test.delta": 0.3}},
            "The job failed (diverged at step 8); test_shift; 1 checks passed",
        ),
        (None, {}, "The job failed (diverged); nothing could be checked but the spec."),
    ],
)
def test_the_summary_of_a_job_that_failed_begins_with_that(step, changes, words):
    failure = Failure(code=FailureCode.DIVERGED, message="", hint="", step=step)
    found = diagnose(make_evidence(failure=failure, step=step or 0, norm={"name": "layer"}, **changes))
    assert found.failure == failure
    assert found.summary.startswith(words)
    assert "needs mending" not in found.summary


def broken(evidence):
    raise ZeroDivisionError


def test_a_rule_that_breaks_is_logged_and_not_checked(caplog):
    found, check = Rule(check="it holds", codes=("broken",), function=broken).apply(make_evidence())
    assert (found, check.status, check.reason) == ([], NOT_CHECKED, FAILED)
    (record,) = caplog.records
    assert record.exc_info[0] is ZeroDivisionError
