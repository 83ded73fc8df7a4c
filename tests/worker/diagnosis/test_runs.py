"""Real small runs: healthy ones have nothing bad, and planted faults are found by their names."""

import pytest

from db.spec.lints.base import Severity
from tests.worker.diagnosis.support import codes
from tests.worker.diagnosis.trained import evidence_of
from tests.worker.support import small_spec, trained
from worker.diagnosis.diagnose import diagnose
from worker.diagnosis.findings import CheckStatus

COMMON = {
    "architecture": {"name": "mlp", "hidden": [32, 32, 32]},
    "norm": {"name": "batch"},
    "steps": 300,
    "statistics": {"every": 20},
    "record": {"every": 1},
}


def diagnosed(digits, **changes):
    values = COMMON | changes
    _, reporter = trained(digits, **values)
    return diagnose(evidence_of(small_spec(**values), reporter))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_healthy_job_has_nothing_bad_and_says_what_was_checked(digits, seed):
    diagnosis = diagnosed(digits, seed=seed)
    assert [finding.code for finding in diagnosis.findings if finding.severity is not Severity.INFO] == []
    missing = [check.codes[0] for check in diagnosis.checked if check.status is CheckStatus.NOT_CHECKED]
    assert missing == ["frozen_shift", "ema_statistics", "saturated_units"]
    assert "nothing was found that needs mending" in diagnosis.summary


#: A fault, and the cause that the diagnosis has to name first.
FAULTS = [
    ({"norm": {"name": "batch", "momentum": 0.001}}, "init_residue", {"stale_statistics", "statistics_drift"}),
    ({"batch_size": 2}, "two_values_per_channel", {"statistic_noise", "batch_noise"}),
    ({"batch_size": 4}, "statistic_noise", {"batch_noise"}),
    (
        {"norm": {"name": "none"}, "optimizer": {"name": "SGD", "lr": 1.2}},
        "dead_units",
        set(),
    ),
    ({"dataset": {"name": "digits", "classes_per_batch": 2}}, "non_iid_batches", {"statistic_noise"}),
    ({"norm": {"name": "frozen_batch"}}, "frozen_from_scratch", {"frozen_shift"}),
    ({"ema": {"decay": 0.99, "use_buffers": False}}, "ema_statistics", set()),
]


@pytest.mark.parametrize(("changes", "cause", "effects"), FAULTS, ids=[cause for _, cause, _ in FAULTS])
def test_a_planted_fault_is_named_first_and_what_follows_behind_it(digits, changes, cause, effects):
    diagnosis = diagnosed(digits, **changes)
    first = diagnosis.findings[0]
    assert (first.code, first.because_of) == (cause, None)
    assert first.severity is not Severity.INFO
    assert effects <= set(codes(diagnosis))
    others = [finding for finding in diagnosis.findings[1:] if finding.because_of is None]
    assert [finding.code for finding in others if finding.severity is Severity.BAD] == []
