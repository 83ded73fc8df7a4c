"""Early stopping and selection: what may be said, and which metric is meant."""

import pytest
from pydantic import ValidationError

from db.spec.selection import Selection, evaluated_metrics, selection_metric, stopping_metric
from tests.db.spec.test_rules import refusal
from tests.db.support import make_spec

PART = {"name": "digits", "validation_fraction": 0.2}
REGRESSION = {"name": "gaussian_linear"}


@pytest.mark.parametrize(
    ("dataset", "metric", "greater"),
    [
        ({"name": "digits"}, "test/accuracy", True),
        (PART, "validation/accuracy", True),
        (REGRESSION, "test/rmse", False),
        (REGRESSION | {"validation_fraction": 0.1}, "validation/rmse", False),
    ],
)
def test_a_job_selects_on_its_validation_part_where_it_has_one(dataset, metric, greater):
    spec = make_spec(dataset=dataset, early_stopping={})
    expected = Selection(metric=metric, greater_is_better=greater)
    assert selection_metric(spec) == stopping_metric(spec) == expected
    assert spec.early_stopping.metric is None
    assert spec.resolved().early_stopping.metric == metric


def test_a_job_that_does_not_stop_early_watches_nothing():
    spec = make_spec()
    assert stopping_metric(spec) is None
    assert spec.resolved().early_stopping is None


@pytest.mark.parametrize(
    ("metric", "greater"), [("gap/precise/accuracy", True), ("validation/loss", False), ("test/loss", False)]
)
def test_early_stopping_may_watch_another_metric_than_the_job_selects_by(metric, greater):
    spec = make_spec(dataset=PART, early_stopping={"metric": metric})
    assert stopping_metric(spec) == Selection(metric=metric, greater_is_better=greater)
    assert spec.resolved().early_stopping.metric == metric
    assert selection_metric(spec).metric == "validation/accuracy"


def test_naming_the_metric_that_is_meant_makes_no_other_job():
    named = make_spec(dataset=PART, early_stopping={"metric": "validation/accuracy", "patience": 5})
    assert named.digest() == make_spec(dataset=PART, early_stopping={}).digest()


@pytest.mark.parametrize(("channels", "has_large"), [(4, True), (4096, False)])
def test_large_batches_are_no_metric_where_the_memory_has_no_room_for_one(channels, has_large):
    spec = make_spec(architecture={"name": "cnn", "channels": [channels], "kernel": 1})
    assert ("gap/train_mode_large/loss" in evaluated_metrics(spec)) is has_large


@pytest.mark.parametrize(
    ("metric", "changes"),
    [
        ("validation/accuracy", {}),
        ("ema/test/accuracy", {}),
        ("test/rmse", {}),
        ("train/loss", {}),
        ("lr", {}),
        ("gap/precise/loss", {"evaluate": {"modes": ["eval"]}}),
        ("gap/train_mode_large/loss", {"evaluate": {"train_samples": 100}}),
        ("ema/gap/train_mode/loss", {"ema": {}}),
        ("test/accuracy", {"dataset": REGRESSION}),
    ],
)
def test_a_metric_that_no_evaluation_gives_is_refused_with_those_that_it_gives(metric, changes):
    error = refusal(early_stopping={"metric": metric}, **changes)
    assert (error["code"], error["pointer"]) == ("metric_not_evaluated", "/early_stopping/metric")
    assert error["given"] == metric
    assert metric not in error["allowed"]
    for allowed in error["allowed"]:
        make_spec(early_stopping={"metric": allowed}, **changes)


def test_there_is_something_to_stop_for():
    error = refusal(early_stopping={"patience": None})
    assert (error["code"], error["pointer"]) == ("nothing_to_stop_for", "/early_stopping/patience")
    assert make_spec(early_stopping={"patience": None, "target": 1}).early_stopping.target == 1
    assert make_spec(early_stopping={"target": 0.97}).early_stopping.patience == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"early_stopping": {"patience": 0}},
        {"early_stopping": {"patience": 2.0}},
        {"early_stopping": {"min_delta": -0.1}},
        {"early_stopping": {"min_delta": float("nan")}},
        {"early_stopping": {"target": "0.9"}},
        {"early_stopping": {"target": float("inf")}},
        {"early_stopping": {"metric": ""}},
        {"early_stopping": {"mode": "max"}},
        {"checkpoint": {"keep_best": -1}},
        {"checkpoint": {"keep_best": 1001}},
        {"checkpoint": {"keep_best": True}},
        {"max_runtime_seconds": 0},
        {"max_runtime_seconds": 315_360_001},
        {"max_runtime_seconds": 60.5},
        {"max_runtime_seconds": None},
    ],
    ids=str,
)
def test_what_is_out_of_range_is_refused_where_it_stands(changes):
    with pytest.raises(ValidationError) as refused:
        make_spec(**changes)
    ((part, value),) = changes.items()
    (error,) = refused.value.errors(include_url=False)
    assert error["loc"][:2] == ((part, *value) if isinstance(value, dict) else (part,))


def test_the_limits_themselves_are_taken():
    for best in (0, 1000):
        assert make_spec(checkpoint={"keep_best": best}).checkpoint.keep_best == best
    for seconds in (1, 315_360_000):
        assert make_spec(max_runtime_seconds=seconds).max_runtime_seconds == seconds
