"""One cause is told once: what follows from it stands behind it."""

import pytest

from db.spec.lints.base import Severity
from worker.diagnosis.causes import CAUSES, with_causes
from worker.diagnosis.findings import Finding
from worker.diagnosis.rules import CODES


def finding(code: str, severity: Severity) -> Finding:
    return Finding(code=code, severity=severity, explanation="", advice="")


def linked(*pairs):
    return [
        (found.code, found.severity, found.because_of)
        for found in with_causes([finding(code, severity) for code, severity in pairs])
    ]


INFO, WARN, BAD = Severity


def test_effects_stand_behind_their_cause_and_causes_by_severity():
    assert linked(
        ("scale_near_zero", INFO),
        ("test_shift", WARN),
        ("precise_gap", WARN),
        ("stale_statistics", BAD),
        ("init_residue", BAD),
    ) == [
        ("init_residue", BAD, None),
        ("stale_statistics", BAD, "init_residue"),
        ("precise_gap", WARN, "init_residue"),
        ("test_shift", WARN, None),
        ("scale_near_zero", INFO, None),
    ]


def test_a_cause_is_as_bad_as_the_worst_of_its_effects():
    assert linked(("two_values_per_channel", WARN), ("statistic_noise", BAD)) == [
        ("two_values_per_channel", BAD, None),
        ("statistic_noise", BAD, "two_values_per_channel"),
    ]


def test_the_effect_of_an_effect_counts_too():
    order = linked(("stale_statistics", BAD), ("statistics_drift", WARN), ("statistic_noise", WARN))
    assert order == [
        ("statistic_noise", BAD, None),
        ("statistics_drift", BAD, "statistic_noise"),
        ("stale_statistics", BAD, "statistics_drift"),
    ]


def test_a_note_explains_no_trouble_but_another_note():
    assert linked(("init_residue", INFO), ("statistics_drift", WARN)) == [
        ("statistics_drift", WARN, None),
        ("init_residue", INFO, None),
    ]
    assert linked(("short_averages", INFO), ("init_residue", INFO))[1] == ("short_averages", INFO, "init_residue")


def test_causes_have_known_codes_and_no_circles():
    for effect, causes in CAUSES.items():
        assert {effect, *causes} <= set(CODES)
        reached, left = set(), list(causes)
        while left:
            reached.add(code := left.pop())
            left += [more for more in CAUSES.get(code, ()) if more not in reached]
        assert effect not in reached


@pytest.mark.parametrize("count", [0, 1, 3])
def test_nothing_is_lost_or_doubled(count):
    codes = list(CAUSES)[:count]
    assert sorted(code for code, *_ in linked(*((code, WARN) for code in codes))) == sorted(codes)
