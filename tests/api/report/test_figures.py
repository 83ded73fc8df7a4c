"""What the figures of a page are made of, and what they lack."""

import numpy as np
import pytest

from api.report import report
from api.report.evidence import evidence
from api.report.figures import figures
from api.report.figures.curves import FIGURE_POINTS, curve
from api.report.figures.styles import SHOWN
from db.experiments.status import CellStatus
from tests.api.report.support import (
    BATCH,
    METRIC,
    NONE,
    diverged_run,
    make_arm,
    make_run,
    make_subject,
    sweep,
)


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
    found, _ = figures(report(subject), evidence(subject))
    return {figure.id: figure for figure in found}


def reasons(subject):
    _, found = figures(report(subject), evidence(subject))
    return found


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
    assert f"{METRIC} over steps: no run has had more than one evaluation." in reasons(make_subject(arms, runs))
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


def test_arms_that_a_figure_lacks_are_told():
    points = [("fine", 0.1), ("lost", 0.2)]
    arms = [make_arm(n, {"optimizer.lr": rate, "arm": name}, name=name) for n, (name, rate) in enumerate(points)]
    never = {METRIC: ([100], np.array([np.nan]))}
    runs = [make_run(0, 0), make_run(1, 0, status=CellStatus.FAILED, failure="diverged", series=never)]
    found = drawn(make_subject(arms, runs))
    assert found["curves"].caption.endswith("Not drawn, without a finite evaluation: lost.")
    assert found["final"].caption.endswith("Not drawn, as no run has succeeded: lost.")
    assert reasons(make_subject(arms, runs)) == [
        f"{METRIC} by learning rate: no two arms differ in the learning rate alone.",
        "Train/eval gap: accuracy: no arm has it, as their norm does not use the batch or not both were measured.",
    ]


def test_a_family_of_one_learning_rate_is_told():
    points = [(NONE, 0.1), (NONE, 1.0), (BATCH, 0.1)]
    arms = [make_arm(n, {"norm": norm, "optimizer.lr": rate}) for n, (norm, rate) in enumerate(points)]
    found = drawn(make_subject(arms, [make_run(n, 0) for n in range(3)]))["rates"]
    assert found.caption.endswith("Not drawn, as they have one learning rate: norm batch.")


@pytest.mark.parametrize(
    ("rates", "ticks"),
    [
        ((0.1, 0.3, 1.0), [0.1, 0.3, 1.0]),
        ((0.01918108, 0.02360956, 0.2, 3.0), [0.1, 1.0]),
        ((0.31, 0.32, 0.9), [0.31, 0.44, 0.63, 0.9]),
    ],
)
def test_learning_rates_on_the_axis_are_far_apart(rates, ticks):
    arms = [make_arm(n, {"optimizer.lr": rate}) for n, rate in enumerate(rates)]
    axis = drawn(make_subject(arms, [make_run(n, 0) for n in range(len(rates))]))["rates"].layout["xaxis"]
    assert axis["tickvals"] == pytest.approx(ticks)
    assert axis["ticktext"] == [f"{tick:g}" for tick in ticks]


def test_the_target_is_in_the_range_of_the_axis():
    found = drawn(make_subject([make_arm(0, {})], [make_run(0, 0, 100)]))["curves"]
    assert (found.data[-1]["x"], found.data[-1]["y"]) == ([50, 1000], [0.9, 0.9])
    assert "shapes" not in found.layout


def test_the_gap_of_accuracies_is_in_percentage_points():
    modes = {f"gap/{mode}/accuracy": {"value": v, "step": 1000} for mode, v in GAPS.items()}
    arms = [make_arm(n, {"norm": norm}) for n, norm in enumerate((BATCH, NONE))]
    found = drawn(make_subject(arms, [make_run(n, 0, latest=modes) for n in range(2)]))["gap"]
    assert found.data[0]["x"] == [pytest.approx(20)]
    assert found.layout["xaxis"]["title"]["text"] == "percentage points"
    assert found.caption.endswith("norm none.")


GAPS = {"eval_mode": 0.7, "train_mode": 0.9}
