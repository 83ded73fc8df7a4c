"""Speed-ups at equal and at best learning rate, which are not the same thing."""

import pytest

from api.report import report
from db.experiments.status import CellStatus
from tests.api.report.support import BATCH, METRIC, NONE, diverged_run, make_arm, make_run, make_subject

LAYER = {"name": "layer"}


def norms_by_rate(steps, seeds=(0, 1, 2), **more):
    """steps: {(norm, lr): median steps to the target, or None}; without norm is the baseline."""
    arms = [
        make_arm(n, {"norm": norm, "optimizer.lr": lr}, is_baseline=norm is NONE)
        for n, (norm, lr) in enumerate((norm, lr) for norm in (NONE, BATCH) for lr in (0.1, 0.5))
    ]
    runs = [
        make_run(arm.number, seed, reached and reached + 100 * (seed - 1), **more)
        for arm in arms
        for reached in [steps[arm.coordinates["norm"]["name"], arm.coordinates["optimizer.lr"]]]
        for seed in seeds
    ]
    return report(make_subject(arms, runs)).arms


def test_equal_and_best_learning_rate_answer_different_questions():
    steps = {("none", 0.1): 900, ("none", 0.5): 400, ("batch", 0.1): 200, ("batch", 0.5): 300}
    arms = norms_by_rate(steps)
    equal, best = arms[2].speed_up.equal_lr, arms[2].speed_up.best_lr
    assert (equal.ratio, equal.arm, equal.baseline, equal.tried) == (4.5, 2, 0, 1)
    assert (equal.learning_rate, equal.baseline_learning_rate) == (0.1, 0.1)
    assert (best.ratio, best.arm, best.baseline) == (2, 2, 1)
    assert (best.learning_rate, best.baseline_learning_rate) == (0.1, 0.5)
    assert (best.tried, best.baseline_tried) == (2, 2)
    assert equal.paired
    assert equal.ci.low < 4.5 <= equal.ci.high
    assert arms[3].speed_up.equal_lr.ratio == pytest.approx(4 / 3)
    assert arms[3].speed_up.best_lr == best, "all arms of a family have its answer"


def test_the_baseline_is_not_compared_with_itself():
    steps = {("none", 0.1): 900, ("none", 0.5): 400, ("batch", 0.1): 200, ("batch", 0.5): 300}
    baseline = norms_by_rate(steps)[0].speed_up
    assert (baseline.equal_lr.ratio, baseline.best_lr.ratio) == (None, None)
    assert "baseline" in baseline.equal_lr.reason


def test_a_side_that_does_not_get_there_gives_a_bound_and_no_ratio():
    arms = norms_by_rate({("none", 0.1): None, ("none", 0.5): 400, ("batch", 0.1): 200, ("batch", 0.5): None})
    at_small, at_large = arms[2].speed_up.equal_lr, arms[3].speed_up.equal_lr
    assert (at_small.ratio, at_small.at_least, at_small.at_most, at_small.ci) == (None, 5, None, None)
    assert "baseline did not" in at_small.reason
    assert (at_large.ratio, at_large.at_least, at_large.at_most) == (None, None, 0.4)
    # Each side's best learning rate did.
    assert arms[3].speed_up.best_lr.ratio == 2


AT_FIRST = {  # steps of the baseline and of the arm, evaluated every 50: ratio, at_least, at_most
    "the baseline": (50, 200, (None, None, 0.25)),
    "this side": (200, 50, (None, 4, None)),
    "both sides": (50, 50, (None, None, None)),
    "none": (200, 100, (2, None, None)),
}


@pytest.mark.parametrize("side", AT_FIRST)
def test_a_side_that_is_there_at_its_first_evaluation_gives_a_bound(side):
    theirs, ours, expected = AT_FIRST[side]
    arms = [make_arm(0, {"norm": NONE}, is_baseline=True), make_arm(1, {"norm": BATCH})]
    runs = [make_run(n, seed, steps) for n, steps in enumerate((theirs, ours)) for seed in range(3)]
    found = report(make_subject(arms, runs)).arms[1].speed_up.equal_lr
    assert (found.ratio, found.at_least, found.at_most) == expected
    assert (found.ci is None) == (found.ratio is None)
    assert side == "none" or f"{side} {'were' if 'both' in side else 'was'} there at" in found.reason


def test_the_bound_of_a_side_that_does_not_get_there_holds_whenever_the_other_did():
    arms = [make_arm(0, {"norm": NONE}, is_baseline=True), make_arm(1, {"norm": BATCH})]
    for theirs, ours, expected in ((None, 50, (20, None)), (50, None, (None, 0.05))):
        runs = [make_run(n, seed, steps) for n, steps in enumerate((theirs, ours)) for seed in range(3)]
        found = report(make_subject(arms, runs)).arms[1].speed_up.equal_lr
        assert (found.at_least, found.at_most) == expected
        assert "did not reach" in found.reason


def test_where_neither_side_gets_there_there_is_nothing_to_divide():
    arms = norms_by_rate(dict.fromkeys([("none", 0.1), ("none", 0.5), ("batch", 0.1), ("batch", 0.5)]))
    found = arms[2].speed_up.best_lr
    assert (found.ratio, found.at_least, found.at_most) == (None, None, None)
    assert "neither" in found.reason


def test_without_a_run_that_gets_there_the_best_final_metric_chooses():
    arms = [make_arm(n, {"norm": norm, "optimizer.lr": lr}, norm is NONE) for n, (norm, lr) in enumerate(GRID)]
    finals = {0: 0.6, 1: 0.7, 2: 0.75, 3: 0.8}
    runs = [make_run(n, seed, None, final + 0.01 * seed) for n, final in finals.items() for seed in range(3)]
    # The best of all, but for two that diverged.
    runs[9:] = [make_run(3, 0, None, 0.99), diverged_run(3, 1), diverged_run(3, 2)]
    best = report(make_subject(arms, runs)).arms[2].speed_up.best_lr
    assert (best.arm, best.baseline) == (2, 1)
    assert best.difference.median == pytest.approx(0.05)


GRID = [(NONE, 0.1), (NONE, 0.5), (BATCH, 0.1), (BATCH, 0.5)]


def test_other_dimensions_must_be_equal_where_the_baseline_leaves_them_free():
    sizes = [(norm, size) for norm in (NONE, BATCH) for size in (16, 64)]
    arms = [make_arm(n, {"norm": norm, "batch_size": size}, norm is NONE) for n, (norm, size) in enumerate(sizes)]
    runs = [make_run(n, seed, steps) for n, steps in enumerate((800, 600, 400, 200)) for seed in range(3)]
    found = report(make_subject(arms, runs)).arms
    assert [(arm.speed_up.equal_lr.baseline, arm.speed_up.equal_lr.ratio) for arm in found[2:]] == [(0, 2), (1, 3)]
    assert [(arm.speed_up.best_lr.baseline, arm.speed_up.best_lr.ratio) for arm in found[2:]] == [(0, 2), (1, 3)]


def test_no_baseline_at_the_same_learning_rate_is_said():
    arms = [
        make_arm(0, {"arm": "plain"}, is_baseline=True, spec={"optimizer.lr": 0.1}),
        make_arm(1, {"arm": "BN x5"}, spec={"optimizer.lr": 0.5, "norm": BATCH}),
    ]
    runs = [make_run(n, seed, steps) for n, steps in enumerate((900, 100)) for seed in range(3)]
    speed_up = report(make_subject(arms, runs)).arms[1].speed_up
    assert (speed_up.equal_lr.ratio, speed_up.equal_lr.baseline) == (None, None)
    assert "learning rate 0.5" in speed_up.equal_lr.reason
    assert (speed_up.best_lr.ratio, speed_up.best_lr.learning_rate) == (9, 0.5)
    assert (speed_up.best_lr.tried, speed_up.best_lr.baseline_tried) == (1, 1)


def test_a_baseline_of_one_learning_rate_has_the_family_that_it_is_of():
    arms = [make_arm(n, {"norm": norm, "optimizer.lr": lr}, n == 0) for n, (norm, lr) in enumerate(GRID)]
    runs = [make_run(n, seed, steps) for n, steps in enumerate((800, 300, 200, 100)) for seed in range(3)]
    found = report(make_subject(arms, runs)).arms
    assert found[2].speed_up.best_lr.baseline == 1
    assert found[1].speed_up.best_lr.ratio is None
    assert found[1].speed_up.equal_lr.reason


def test_whole_optimizers_that_differ_in_their_rate_are_one_family():
    sgd = {"name": "SGD", "momentum": 0.0}
    optimizers = [(norm, sgd | {"lr": lr}) for norm in (NONE, BATCH) for lr in (0.1, 0.5)]
    arms = [make_arm(n, {"norm": norm, "optimizer": o}, norm is NONE) for n, (norm, o) in enumerate(optimizers)]
    runs = [make_run(n, seed, steps) for n, steps in enumerate((800, 600, 400, 100)) for seed in range(3)]
    found = report(make_subject(arms, runs)).arms
    assert [arm.speed_up.equal_lr.ratio for arm in found[2:]] == [2, 6]
    assert [arm.speed_up.best_lr.ratio for arm in found[2:]] == [6, 6]


def test_finals_are_compared_seed_by_seed_where_seeds_are_the_same():
    arms = [make_arm(0, {"norm": NONE}, is_baseline=True), make_arm(1, {"norm": BATCH})]
    finals = [[0.5, 0.7, 0.9], [0.6, 0.8, 0.95]]
    runs = [make_run(n, seed, None, final) for n, row in enumerate(finals) for seed, final in enumerate(row)]
    found = report(make_subject(arms, runs)).arms[1].speed_up.equal_lr.difference
    assert (found.metric, found.n, found.paired) == (METRIC, 3, True)
    assert found.median == pytest.approx(0.1)
    assert found.ci.low == pytest.approx(0.05)
    others = [make_run(1, seed + 10, None, final) for seed, final in enumerate(finals[1])]
    apart = report(make_subject(arms, runs[:3] + others)).arms[1].speed_up.equal_lr.difference
    assert (apart.paired, apart.median) == (False, pytest.approx(0.1))
    assert apart.ci.low < 0


def test_without_a_target_there_are_differences_and_no_ratios():
    arms = [make_arm(0, {"norm": NONE}, is_baseline=True), make_arm(1, {"norm": BATCH})]
    runs = [make_run(0, 0, None, 0.5), make_run(1, 0, None, 0.75)]
    found = report(make_subject(arms, runs, target=None)).arms[1]
    assert (found.steps_to_target, found.speed_up.equal_lr.ratio) == (None, None)
    assert found.speed_up.equal_lr.difference.median == 0.25
    assert "no target" in found.speed_up.equal_lr.reason


def test_without_a_baseline_nothing_is_compared():
    arms = [make_arm(0, {"norm": NONE}), make_arm(1, {"norm": LAYER})]
    found = report(make_subject(arms, [make_run(0, 0, 300), make_run(1, 0, 100)])).arms[1].speed_up
    assert found.equal_lr.reason
    assert found.best_lr.reason == "there is no baseline arm"


def test_a_side_that_has_not_begun_is_said():
    arms = [make_arm(0, {"norm": NONE}, is_baseline=True), make_arm(1, {"norm": BATCH})]
    waiting = make_run(0, 0, step=0, status=CellStatus.QUEUED)
    found = report(make_subject(arms, [waiting, make_run(1, 0, 100)])).arms[1].speed_up.equal_lr
    assert "no run of the baseline has begun" in found.reason
    assert (found.arm, found.tried, found.baseline_tried, found.learning_rate) == (None, None, None, None)


def test_learning_rates_are_tried_once_a_run_has_begun():
    arms = [make_arm(n, {"norm": norm, "optimizer.lr": lr}, norm is NONE) for n, (norm, lr) in enumerate(GRID)]
    waiting = [make_run(n, 0, step=0, status=CellStatus.WAITING, latest={}) for n in range(4)]
    before = report(make_subject(arms, waiting)).arms[2].speed_up.best_lr
    assert (before.tried, before.baseline_tried, before.baseline_learning_rate) == (None, None, None)
    runs = [waiting[0], make_run(1, 0, 800), make_run(2, 0, 400), diverged_run(3, 0, step=0)]
    live = report(make_subject(arms, runs)).arms[2].speed_up.best_lr
    assert (live.tried, live.baseline_tried, live.ratio) == (2, 1, 2)
