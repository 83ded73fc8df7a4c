"""What a report says of made-up runs."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from api.report import report
from db.experiments.records import Target
from db.experiments.status import CellStatus, ExperimentStatus
from db.spec.selection import Selection
from db.status import FailureCode
from tests.api.report.support import BATCH, METRIC, NONE, diverged_run, make_arm, make_run, make_subject


def one_arm(*runs, norm=NONE, **more):
    return report(make_subject([make_arm(0, {}, spec={"norm": norm})], runs, **more)).arms[0]


def test_an_arm_over_its_seeds():
    gaps = {f"gap/{mode}/accuracy": {"value": v, "step": 1000} for mode, v in MODES.items()}
    arm = one_arm(
        make_run(0, 0, 300, 0.91, latest=gaps, seconds=10.0, samples_per_second=100.0),
        make_run(0, 1, 500, 0.95, latest=gaps, seconds=30.0, samples_per_second=200.0, is_reused=True),
        diverged_run(0, 2),
        norm=BATCH,
    )
    assert (arm.final[METRIC].n, arm.final[METRIC].median) == (2, pytest.approx(0.93))
    assert arm.best[METRIC].max == 0.95
    assert arm.train_eval_gap["accuracy"].median == pytest.approx(0.2)
    assert arm.precise_gap["accuracy"].median == pytest.approx(0.15)
    assert (arm.seconds.median, arm.samples_per_second.median, arm.reused) == (20, 150, 1)
    assert arm.cells == {"succeeded": 2, "failed": 1}
    assert arm.divergence.model_dump() == {"count": 1, "ended": 3, "rate": 1 / 3}


MODES = {"eval_mode": 0.7, "train_mode": 0.9, "precise": 0.85}


def test_a_norm_that_does_not_use_the_batch_has_no_gap():
    gaps = {f"gap/{mode}/accuracy": {"value": 0.9, "step": 1000} for mode in MODES}
    for norm in (NONE, {"name": "layer"}):
        arm = one_arm(make_run(0, 0, latest=gaps), norm=norm)
        assert (arm.train_eval_gap, arm.precise_gap) == ({}, {})
        assert arm.final["gap/train_mode/accuracy"].median == 0.9
    measured = one_arm(make_run(0, 0, latest=gaps), norm=BATCH)
    assert measured.train_eval_gap["accuracy"].median == 0


def test_a_diverged_run_never_reaches_the_target():
    arm = one_arm(make_run(0, 0, 300), diverged_run(0, 1), diverged_run(0, 2))
    found = arm.steps_to_target
    assert (found.n, found.reached, found.censored, found.diverged) == (3, 1, 2, 2)
    assert (found.median, found.at_least, found.ci) == (None, 1000, None)


def test_a_run_that_reached_the_target_and_diverged_then_has_reached_it():
    run = make_run(0, 0, 300, "NaN", step=600, status=CellStatus.FAILED, failure=FailureCode.DIVERGED)
    found = one_arm(run).steps_to_target
    assert (found.median, found.reached, found.diverged) == (300, 1, 0)


def test_runs_that_are_still_training_are_censored_where_they_are():
    live = [make_run(0, seed, None, step=200, status=CellStatus.RUNNING) for seed in (1, 2)]
    found = one_arm(make_run(0, 0, 800), *live).steps_to_target
    # Product limit: of the two that left at 200 nothing is known, the one that stayed needed 800.
    assert (found.median, found.censored, found.diverged) == (800, 2, 0)


def test_a_target_may_be_a_loss():
    target = Target(metric=METRIC, value=0.6, greater_is_better=False)
    # Below 0.6 from the first evaluation on.
    assert one_arm(make_run(0, 0, 500), target=target).steps_to_target.median == 50


def test_runs_that_are_there_at_their_first_evaluation_may_have_been_there_before():
    found = one_arm(*(make_run(0, seed, reached) for seed, reached in enumerate((50, 50, 300)))).steps_to_target
    assert (found.at_first, found.reached, found.median, found.median_at_first) == (2, 3, 50, True)
    assert (found.ci.low, found.ci.high) == (None, 300)
    later = one_arm(make_run(0, 0, 50), make_run(0, 1, 100), make_run(0, 2, 100)).steps_to_target
    assert (later.at_first, later.median, later.median_at_first) == (1, 100, False)


@pytest.mark.parametrize(("at", "expected"), [(0, (0, 0)), (40, (1, 40)), (80, (0, 80))])
def test_an_evaluation_before_training_is_not_the_first_of_it(at, expected):
    steps = np.array([0, 40, 80])
    found = one_arm(make_run(0, 0, series={METRIC: (steps.tolist(), np.where(steps >= at, 0.95, 0.1))}))
    assert (found.steps_to_target.at_first, found.steps_to_target.median) == expected


def test_diverged_runs_are_the_worst_of_what_is_selected_by():
    assert (
        one_arm(make_run(0, 0, final=0.9), make_run(0, 1, final=0.8), diverged_run(0, 2)).selection_median == 0.8
    )
    assert one_arm(make_run(0, 0, final=0.9), diverged_run(0, 1), diverged_run(0, 2)).selection_median is None
    # Of an even number the worse one of the middle two.
    assert one_arm(make_run(0, 0, final=0.9), make_run(0, 1, final=0.8)).selection_median == 0.8
    not_finite = [make_run(0, seed, final="NaN") for seed in (1, 2)]
    assert one_arm(make_run(0, 0, final=0.9), *not_finite).selection_median is None
    loss = Selection(metric=METRIC, greater_is_better=False)
    runs = [make_run(0, 0, final=0.9), make_run(0, 1, final=0.8), diverged_run(0, 2)]
    assert one_arm(*runs, selection=loss, target=None).selection_median == 0.9


def test_findings_are_counted_by_run_the_worst_first():
    arm = one_arm(
        make_run(0, 0, findings=[("drift", "warn"), ("dead_units", "info"), ("drift", "bad")]),
        make_run(0, 1, findings=[("drift", "warn"), ("noise", "warn")]),
    )
    found = [(each.code, each.severity, each.runs) for each in arm.findings]
    assert found == [("drift", "bad", 2), ("noise", "warn", 1), ("dead_units", "info", 1)]


def test_before_anything_has_run():
    made = report(
        make_subject([make_arm(0, {})], [make_run(0, 0, status=CellStatus.WAITING, step=0, steps=0, latest={})])
    )
    arm = made.arms[0]
    assert (arm.steps_to_target, arm.final, arm.divergence.rate, arm.cells) == (None, {}, None, {"waiting": 1})


def test_an_experiment_without_arms_has_a_report():
    made = report(make_subject([], []))
    assert (made.arms, made.provenance.seeds) == ([], [])


def test_progress_is_that_of_the_experiment():
    runs = [diverged_run(0, 0, step=100), make_run(0, 1, step=500, status=CellStatus.RUNNING)]
    told = {"status": ExperimentStatus.RUNNING, "share": 0.5, "eta_seconds": 60.0, "total": 5}
    made = report(make_subject([make_arm(0, {})], runs, progress=told))
    progress = made.progress
    assert progress.cells == {"failed": 1, "running": 1}
    assert (progress.share, progress.eta_seconds, progress.ended, progress.total) == (0.5, 60, 1, 5)
    assert made.status == "running"


def test_a_cell_whose_job_was_deleted_has_ended():
    runs = [make_run(0, 0), make_run(0, 1, step=0, steps=0, job=None, status=CellStatus.DELETED, latest={})]
    made = report(make_subject([make_arm(0, {})], runs))
    assert made.arms[0].cells == {"succeeded": 1, "deleted": 1}
    assert made.progress.ended == 2
    assert "numbers will still change" not in " ".join(made.notes)


def test_a_run_that_diverged_before_its_first_report_has_begun():
    found = one_arm(make_run(0, 0, 300), diverged_run(0, 1, step=0), diverged_run(0, 2, step=0)).steps_to_target
    assert (found.n, found.diverged, found.median, found.at_least) == (3, 2, None, 1000)


def test_provenance_says_where_the_numbers_come_from():
    runs = [make_run(0, 4, seconds=10.0), make_run(0, 1, seconds=2.5), diverged_run(0, 2)]
    ended = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    found = report(make_subject([make_arm(0, {})], runs, progress={"finished_at": ended})).provenance
    assert (found.seeds, found.ended, found.seconds, found.finished_at) == ([1, 2, 4], 2, 12.5, ended)
    assert found.json_address == "/v1/experiments/exp_1/report?format=json"
    assert found.csv_address == "/v1/experiments/exp_1/report?format=csv"


def test_a_note_says_where_the_probes_are():
    probes = {"probes": [{"name": "landscape", "every": 100}]}
    told = " ".join(report(make_subject([make_arm(0, {}, spec=probes)], [])).notes)
    assert "`GET /v1/jobs/{id}/probes/landscape`" in told
    assert "probes" not in " ".join(report(make_subject([make_arm(0, {})], [])).notes)


def test_the_settings_of_an_arm_are_what_is_not_the_same_in_all():
    parts = [NONE, BATCH, BATCH | {"momentum": 0.01}]
    arms = [make_arm(n, {"norm": part, "optimizer.lr": 0.1 * (n + 1)}) for n, part in enumerate(parts)]
    found = report(make_subject(arms, [])).arms
    assert [arm.config for arm in found] == [
        {"norm": "none", "optimizer.lr": 0.1},
        {"norm": "batch (momentum 0.1)", "optimizer.lr": 0.2},
        {"norm": "batch (momentum 0.01)", "optimizer.lr": pytest.approx(0.3)},
    ]


def test_a_part_of_one_name_is_compared_field_by_field():
    arms = [make_arm(n, {"norm": BATCH | {"eps": eps}}) for n, eps in enumerate((1e-5, 1e-3))]
    assert [arm.config for arm in report(make_subject(arms, [])).arms] == [{"norm.eps": 1e-5}, {"norm.eps": 1e-3}]


def test_selection_on_test_data_is_said():
    assert report(make_subject([], [])).selection.selects_on_test
    made = report(make_subject([], [], selection=Selection(metric="validation/accuracy", greater_is_better=True)))
    assert not made.selection.selects_on_test
    assert "validation/accuracy" in " ".join(made.notes)


def test_notes_say_what_may_mislead():
    runs = [make_run(0, 0, is_reused=True), make_run(0, 1, status=CellStatus.RUNNING)]
    told = " ".join(report(make_subject([make_arm(0, {})], runs)).notes)
    assert "1 of 2 cells are reused" in told
    assert "1 of 2 cells have ended" in told
    assert "test data" in told
    assert "narrower" in told
    assert "no finer than the evaluations" not in told


def test_a_note_counts_the_runs_that_were_there_at_first():
    runs = [make_run(0, 0, 50), make_run(0, 1, 50), make_run(0, 2, 200)]
    told = " ".join(report(make_subject([make_arm(0, {})], runs)).notes)
    assert "no finer than the evaluations: 2 runs were there at their first one" in told
    assert "evaluate.every" in told


def test_a_report_is_json_without_numbers_that_are_none():
    runs = [make_run(0, 0, final="Infinity"), make_run(0, 1, final="NaN"), diverged_run(0, 2)]
    text = report(make_subject([make_arm(0, {}, is_baseline=True)], runs)).model_dump_json()
    json.loads(text, parse_constant=pytest.fail)
    assert not {"NaN", "Infinity"} & set(text.replace('"', " ").split())
