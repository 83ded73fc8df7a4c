"""The columns of the page's table: which there are, and what stands in them."""

import pytest

from api.report import report
from api.report.cells import change, duration, measured, number
from api.report.columns import table
from db.experiments.records import Searching
from db.experiments.status import CellStatus
from db.spec.selection import selection_of
from tests.api.report.support import (
    ACCURACY_TARGET,
    BATCH,
    METRIC,
    NONE,
    diverged_run,
    make_arm,
    make_run,
    make_subject,
    sweep,
)


def test_the_table_says_which_speed_up_is_which():
    arms = [make_arm(n, {"norm": n_, "optimizer.lr": lr}, n_ is NONE) for n, (n_, lr) in enumerate(POINTS)]
    runs = [make_run(n, seed, steps) for n, steps in enumerate((800, 400, None)) for seed in range(3)]
    cells = row_of(make_subject(arms, runs), 2)
    at_equal, at_best = cells["At equal learning rate: speed-up"], cells["Each at its best rate: speed-up"]
    assert (at_equal.text, at_best.text) == ("≤ 0.800×", "≤ 0.400×")
    assert (at_best.notes, at_best.folded) == ((), ("this side did not reach the target",))
    assert cells["Each at its best rate: rates"].text == "0.1 vs 0.5"
    assert cells["steps to target"].text == "> 1,000"
    assert cells["steps to target"].notes == ("0 of 3 reached it",)
    assert cells[f"final {METRIC}"].text == "0.950"


POINTS = [(NONE, 0.1), (NONE, 0.5), (BATCH, 0.1)]


def table_of(subject):
    return table(report(subject), subject.arms)


def names_of(made):
    """Of each column, `group: head` where it has a group."""
    below, names = iter(made.subheads), []
    for head in made.heads:
        names += [f"{head.text}: {next(below)}" for _ in range(head.columns)] if head.is_group else [head.text]
    return names


def row_of(subject, place):
    made = table_of(subject)
    return dict(zip(names_of(made), made.rows[place].cells, strict=True))


def test_what_readers_look_for_comes_first():
    assert names_of(table_of(sweep((0.1, 1.0)))) == [
        f"final {METRIC}",
        "steps to target",
        "At equal learning rate: speed-up",
        "At equal learning rate: gained",
        "Each at its best rate: speed-up",
        "Each at its best rate: gained",
        "Each at its best rate: rates",
        "Gaps in accuracy: train/eval",
        "Gaps in accuracy: precise",
        "findings",
        "runs",
        "time, samples",
        "best of a run",
    ]


@pytest.mark.parametrize(
    ("has_baseline", "target", "names"),
    [
        (False, None, [f"final {METRIC}", "runs", "best of a run"]),
        (False, ACCURACY_TARGET, [f"final {METRIC}", "steps to target", "runs", "best of a run"]),
        (
            True,
            None,
            [
                f"final {METRIC}",
                "At equal learning rate: gained",
                "Each at its best rate: gained",
                "Each at its best rate: rates",
                "runs",
                "best of a run",
            ],
        ),
    ],
)
def test_what_no_arm_has_is_no_column(has_baseline, target, names):
    arms = [make_arm(0, {"norm": NONE}, has_baseline), make_arm(1, {"norm": BATCH})]
    made = table_of(make_subject(arms, [make_run(n, 0) for n in range(2)], target=target))
    assert names_of(made) == names
    assert {head.lines for head in made.heads if not head.is_group} == {2 if has_baseline else 1}
    assert all(len(row.cells) == len(names) for row in made.rows)


def test_runs_are_one_cell_that_tells_what_went_wrong_once():
    runs = [make_run(0, 0), diverged_run(0, 1), make_run(0, 2, status=CellStatus.FAILED)]
    found = row_of(make_subject([make_arm(0, {})], runs), 0)["runs"]
    assert (found.text, found.notes, found.tone) == ("1 of 3", ("1 diverged", "1 failed"), "bad")
    found = row_of(make_subject([make_arm(0, {})], [make_run(0, 0)]), 0)["runs"]
    assert (found.text, found.notes, found.tone) == ("1 of 1", (), None)


def test_other_findings_than_the_worst_are_folded():
    findings = [("dead_units", "info"), ("running_statistics_drift", "bad"), ("batch_noise", "warn")]
    found = row_of(make_subject([make_arm(0, {})], [make_run(0, 0, findings=findings)]), 0)["findings"]
    assert (found.text, found.tone) == ("running_statistics_drift × 1", "bad")
    assert (found.fold, found.folded) == ("+2", ("batch_noise × 1", "dead_units × 1"))


@pytest.mark.parametrize(("reached", "text"), [((50, 50, 300), "≤ 50"), ((50, 300, 300), "300")])
def test_a_target_reached_at_first_sight_is_a_bound(reached, text):
    runs = [make_run(0, seed, steps) for seed, steps in enumerate(reached)]
    assert row_of(make_subject([make_arm(0, {})], runs), 0)["steps to target"].text == text


def test_a_bound_tells_of_the_runs_that_did_not_get_there():
    runs = [make_run(0, 0, 50), make_run(0, 1, 50), diverged_run(0, 2)]
    found = row_of(make_subject([make_arm(0, {})], runs), 0)["steps to target"]
    assert (found.text, found.notes) == ("≤ 50", ("2 of 3 reached it", "1 diverged"))


def test_the_trials_of_a_search_are_listed_from_the_best_on():
    rates = (0.123456789, 0.5, 2.0)
    arms = [make_arm(n, {"optimizer.lr": rate}, trial=n) for n, rate in enumerate(rates)]
    runs = [make_run(0, 0, final=0.7), make_run(1, 0, final=0.9), diverged_run(2, 0)]
    made = table_of(make_subject(arms, runs, target=None, search=searching(METRIC)))
    assert [(row.name, row.is_best) for row in made.rows] == [
        ("trial 1: lr 0.5", True),
        ("trial 0: lr 0.123", False),
        ("trial 2: lr 2", False),
    ]


def searching(metric):
    return Searching(name="optuna", sampler="TPESampler", trials=3, selection=selection_of(metric))


def test_a_search_by_another_metric_is_listed_by_that_one():
    losses = (0.3, 0.2, 0.5)
    arms = [make_arm(n, {"optimizer.lr": 0.1 * (n + 1)}, trial=n) for n in range(3)]
    runs = [make_run(n, 0, latest={"test/loss": {"value": v, "step": 1000}}) for n, v in enumerate(losses)]
    made = table_of(make_subject(arms, runs, search=searching("test/loss")))
    assert [row.arm.number for row in made.rows] == [1, 0, 2]
    assert [head.text for head in made.heads[:2]] == [f"final {METRIC}", "final test/loss"]


def test_accuracies_line_up_and_their_differences_are_points():
    assert [measured(v, METRIC) for v in (0.94249, 1.0)] == ["0.942", "1.000"]
    assert measured(0.30022, "test/loss") == "0.3002"
    assert [change(v, METRIC) for v in (0.0314, -0.02, -0.0001)] == ["+3.1 pp", "−2.0 pp", "+0.0 pp"]
    assert change(-0.5, "test/loss") == "−0.500"


def test_why_a_baseline_has_no_speed_up_takes_no_place():
    arms = [make_arm(n, {"norm": norm}, norm is NONE) for n, norm in enumerate((NONE, BATCH))]
    subject = make_subject(arms, [make_run(n, seed, 300) for n in range(2) for seed in range(3)])
    gained = row_of(subject, 1)["At equal learning rate: gained"]
    assert (gained.text, gained.notes) == ("+0.0 pp", ("[+0.0, +0.0]",))
    cells = [cell for name, cell in row_of(subject, 0).items() if name.endswith("speed-up")]
    assert [(cell.text, cell.notes, cell.folded) for cell in cells] == [("–", (), ()), ("–", (), ())]
    assert cells[0].title == "this is the baseline"


def test_numbers_and_times_are_short():
    assert [number(v, 3) for v in (0.5, 123.0, -0.0123)] == ["0.500", "123", "−0.0123"]
    assert (number(0.1, 2, signed=True), number(4300.0, 0)) == ("+0.10", "4,300")
    assert [duration(s) for s in (0.04, 1.26, 59, 61, 3600, 90_000)] == [
        "0.04 s",
        "1.3 s",
        "59 s",
        "1 min 1 s",
        "1 h 0 min",
        "1 d 1 h",
    ]
