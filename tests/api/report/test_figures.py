"""What the figures and the table of a page are made of."""

import numpy as np
import pytest

from api.report import report
from api.report.cells import change, duration, measured, number
from api.report.columns import table
from api.report.evidence import evidence
from api.report.figures import figures
from api.report.figures.curves import FIGURE_POINTS, curve
from api.report.figures.styles import SHOWN
from tests.api.report.support import BATCH, METRIC, NONE, diverged_run, make_arm, make_run, make_subject, sweep


def test_a_curve_is_of_the_runs_that_are_still_there():
    runs = [([1, 2, 3], np.array([1.0, 2.0, 3.0])), ([1, 2], np.array([3.0, np.nan])), ([1], np.array([8.0]))]
    found = curve(runs, 100)
    assert (found.steps, found.median) == ([1, 2, 3], [3, 2, 3])
    assert (found.low, found.high) == ([1, 2, 3], [8, 2, 3])


def test_a_long_curve_keeps_its_extremes_and_its_end():
    values = np.zeros(10_000)
    values[5_001], values[-1] = 7.0, 1.0
    found = curve([(range(10_000), values)], 50)
    assert len(found.steps) == 50
    assert (max(found.high), found.steps[-1], found.median[-1]) == (7, 9_999, 1)


def test_there_is_no_curve_of_nothing():
    assert curve([], 10) is None
    assert curve([([1], np.array([np.inf]))], 10) is None


def drawn(subject):
    return {figure.id: figure for figure in figures(report(subject), evidence(subject))}


def test_of_many_arms_the_best_and_a_baseline_are_shown():
    subject = sweep([0.01 * 1.2**n for n in range(12)], evaluations=2_000)
    found = drawn(subject)["curves"]
    lines = [trace for trace in found.data if trace.get("name")]
    shown = [trace["name"] for trace in lines if trace["visible"] is True]
    assert (len(lines), len(shown)) == (60, SHOWN + 1)
    assert any("none" in name for name in shown)
    assert sum(len(trace["x"]) for trace in lines) <= FIGURE_POINTS
    assert f"{SHOWN} of 60" in found.caption


@pytest.mark.parametrize("baselines", [0, 1, 12, 40])
def test_shown_arms_look_different(baselines):
    arms = [make_arm(n, {"norm": NONE, "batch_size": n + 1}, n < baselines) for n in range(40)]
    runs = [make_run(n, 0, 100 + 20 * (n * 7 % 40)) for n in range(40)]
    lines = [trace for trace in drawn(make_subject(arms, runs))["curves"].data if trace.get("name")]
    shown = [trace for trace in lines if trace["visible"] is True]
    assert len(shown) >= SHOWN
    assert len({tuple(trace["line"].items()) for trace in shown}) == len(shown)
    assert len({tuple(trace["marker"].items()) for trace in shown}) == len(shown)


@pytest.mark.parametrize("baselines", [0, 5, 12])
def test_shown_families_look_different(baselines):
    points = [(size, lr) for size in range(1, 13) for lr in (0.1, 0.5)]
    arms = [
        make_arm(n, {"batch_size": size, "optimizer.lr": lr}, size <= baselines)
        for n, (size, lr) in enumerate(points)
    ]
    found = drawn(make_subject(arms, [make_run(n, 0) for n in range(24)]))["rates"].data
    assert len({(line["line"]["color"], line["line"]["dash"]) for line in found}) == 12


def test_single_evaluations_are_no_curve():
    alone = {METRIC: ([1000], np.array([0.9]))}
    arms = [make_arm(0, {"norm": NONE}), make_arm(1, {"norm": BATCH})]
    runs = [make_run(n, 0, series=alone) for n in range(2)]
    assert list(drawn(make_subject(arms, runs))) == ["final"]
    runs[1] = make_run(1, 0, series={METRIC: ([500, 1000], np.array([0.8, 0.9]))})
    assert "curves" in drawn(make_subject(arms, runs))


def test_names_beside_the_dots_are_not_cut_too_soon():
    names = [f"ResNet-20 with batch norm, weight decay {n:.2f}" for n in range(2)]
    arms = [make_arm(n, {"batch_size": n + 1}, name=name) for n, name in enumerate(names)]
    found = drawn(make_subject(arms, [make_run(n, 0) for n in range(2)]))["final"]
    assert found.layout["yaxis"]["ticktext"] == names


def test_diverged_runs_are_marked_below_all_others():
    rates = [(NONE, 0.1), (NONE, 1.0)]
    arms = [make_arm(n, {"norm": norm, "optimizer.lr": rate}) for n, (norm, rate) in enumerate(rates)]
    runs = [make_run(0, 0, final=0.4), make_run(0, 1, final=0.6), make_run(1, 0, final=0.5), diverged_run(1, 1)]
    line, crosses = drawn(make_subject(arms, runs))["rates"].data
    assert (line["x"], line["y"]) == ([0.1, 1.0], [0.5, 0.5])
    assert (line["error_y"]["array"], line["error_y"]["arrayminus"]) == (
        [pytest.approx(0.1), 0],
        [pytest.approx(0.1), 0],
    )
    assert (crosses["x"], crosses["text"]) == ([1.0], ["1 of 2 diverged"])
    assert crosses["y"][0] < 0.4


def test_one_learning_rate_has_no_figure_of_its_own():
    arms = [make_arm(0, {"norm": NONE}), make_arm(1, {"norm": BATCH})]
    runs = [make_run(n, 0, 300) for n in range(2)]
    assert list(drawn(make_subject(arms, runs))) == ["curves", "final"]


def test_the_table_says_which_speed_up_is_which():
    arms = [make_arm(n, {"norm": n_, "optimizer.lr": lr}, n_ is NONE) for n, (n_, lr) in enumerate(POINTS)]
    runs = [make_run(n, seed, steps) for n, steps in enumerate((800, 400, None)) for seed in range(3)]
    made = table(report(make_subject(arms, runs)))
    groups = [group for group, width in made.groups for _ in range(width)]
    cells = dict(zip(zip(groups, made.heads, strict=True), made.rows[2].cells, strict=True))
    at_equal = cells["At equal learning rate", "speed-up"]
    at_best = cells["Each at its best learning rate", "speed-up"]
    assert (at_equal.text, at_best.text) == ("≤ 0.800×", "≤ 0.400×")
    assert cells["Each at its best learning rate", "rates"].text == "0.1 vs 0.5"
    assert cells["Target", "steps to it"].text == "> 1,000"
    assert cells["Target", "steps to it"].notes == ("0 of 3 reached it",)
    assert cells[METRIC, "final"].text == "0.950"


POINTS = [(NONE, 0.1), (NONE, 0.5), (BATCH, 0.1)]


def test_without_a_target_the_table_has_no_speed_ups():
    made = table(report(make_subject([make_arm(0, {})], [make_run(0, 0)], target=None)))
    assert "speed-up" not in made.heads
    assert len(made.heads) == sum(width for _, width in made.groups) == len(made.rows[0].cells)


def test_accuracies_line_up_and_their_differences_are_points():
    assert [measured(v, METRIC) for v in (0.94249, 1.0)] == ["0.942", "1.000"]
    assert measured(0.30022, "test/loss") == "0.3002"
    assert [change(v, METRIC) for v in (0.0314, -0.02, -0.0001)] == ["+3.1 pp", "−2.0 pp", "+0.0 pp"]
    assert change(-0.5, "test/loss") == "−0.500"


def test_why_a_baseline_has_no_speed_up_takes_no_place():
    arms = [make_arm(n, {"norm": norm}, norm is NONE) for n, norm in enumerate((NONE, BATCH))]
    made = table(report(make_subject(arms, [make_run(n, seed, 300) for n in range(2) for seed in range(3)])))
    gained = made.rows[1].cells[made.heads.index("final, difference")]
    assert (gained.text, gained.notes) == ("+0.0 pp", ("[+0.0, +0.0]",))
    cells = [cell for cell, head in zip(made.rows[0].cells, made.heads, strict=True) if head == "speed-up"]
    assert [(cell.text, cell.notes) for cell in cells] == [("–", ()), ("–", ())]
    assert cells[0].title == "this is the baseline"


def test_numbers_and_times_are_short():
    assert [number(v, 3) for v in (0.5, 123.0, -0.0123)] == ["0.500", "123", "−0.0123"]
    assert (number(0.1, 2, signed=True), number(4300.0, 0)) == ("+0.10", "4,300")
    assert [duration(s) for s in (0.04, 59, 61, 3600, 90_000)] == [
        "0.04 s",
        "59 s",
        "1 min 1 s",
        "1 h 0 min",
        "1 d 1 h",
    ]
