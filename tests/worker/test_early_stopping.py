"""When a run stops early, and which of its evaluations is the best."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.early_stopping import Best, EarlyStopping, Scores

NAN, INF = math.nan, math.inf
METRIC = "validation/accuracy"


def watch(values: list[float], **options) -> tuple[list[bool], list[str | None]]:
    """Whether each evaluation improved, and the reason to stop after it."""
    stopping = EarlyStopping(METRIC, **{"greater_is_better": True, "patience": 3} | options)
    improved, reasons = [], []
    for value in values:
        stopping.saw({"test/accuracy": 1.0, METRIC: value})
        improved.append(stopping.improved)
        reasons.append(stopping.reason)
    return improved, reasons


@pytest.mark.parametrize(("greater", "sign"), [(True, 1), (False, -1)])
def test_patience_is_over_after_so_many_evaluations_in_a_row_without_an_improvement(greater, sign):
    values = [sign * value for value in (0.1, 0.5, 0.5, 0.4, 0.6, 0.6, 0.1, 0.5)]
    improved, reasons = watch(values, greater_is_better=greater)
    assert improved == [True, True, False, False, True, False, False, False]
    assert reasons == [None] * 7 + ["patience"]


def test_an_improvement_is_one_by_more_than_min_delta_over_the_best():
    # Binary fractions: the difference is exact. Slow progress adds up.
    improved, reasons = watch([0.5, 0.75, 0.875, 1.0, 1.125], min_delta=0.25, patience=10)
    assert improved == [True, False, True, False, False]
    assert set(reasons) == {None}


@pytest.mark.parametrize(
    ("greater", "values"), [(True, [0.5, 0.9, 0.97, 0.2]), (False, [3.0, 1.5, 0.97, 5.0])], ids=["more", "less"]
)
def test_the_target_stops_as_soon_as_it_is_reached_with_or_without_patience(greater, values):
    for patience in (None, 5):
        _, reasons = watch(values, greater_is_better=greater, patience=patience, target=0.97)
        assert reasons == [None, None, "target", "target"]


def test_a_target_that_the_first_evaluation_reaches_stops_there():
    assert watch([0.99], patience=None, target=0.97) == ([True], ["target"])


def test_patience_does_not_wait_for_the_target():
    assert watch([0.5, 0.5], patience=1, target=0.97)[1] == [None, "patience"]
    # Reached by less than min_delta: not an improvement, but the target.
    assert watch([0.96, 0.97], patience=1, target=0.97, min_delta=0.5)[1] == [None, "target"]


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("greater", [True, False])
def test_what_is_not_finite_is_no_improvement_and_no_target(bad, greater):
    improved, reasons = watch([bad, 0.5, bad, bad], greater_is_better=greater, patience=2, target=None)
    assert improved == [False, True, False, False]
    assert reasons == [None, None, None, "patience"]
    target = 0.4 if greater else 0.6
    assert watch([bad], greater_is_better=greater, patience=None, target=target)[1] == [None]


FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=16)


@given(st.lists(FLOATS), st.booleans())
def test_the_best_is_the_best_finite_value_and_every_new_best_is_told(values, greater):
    best, told = Best("m", greater_is_better=greater), []
    for value in values:
        if best.saw({"m": value}):
            told.append(value)
    finite = [value for value in values if math.isfinite(value)]
    choose = max if greater else min
    assert best.value == (choose(finite) if finite else None)
    expected = [v for i, v in enumerate(finite) if i == 0 or choose(v, choose(finite[:i])) != choose(finite[:i])]
    assert told == expected


@given(st.lists(FLOATS, min_size=1), st.data())
def test_a_run_that_goes_on_from_its_state_decides_as_one_that_never_stopped(values, data):
    def make() -> tuple[EarlyStopping, Best]:
        stopping = EarlyStopping("m", greater_is_better=True, patience=2, min_delta=0.5, target=100.0)
        return stopping, Best("m", greater_is_better=True)

    def see(parts: tuple[EarlyStopping, Best], seen: list[float]) -> None:
        for value in seen:
            for part in parts:
                part.saw({"m": value})

    cut = data.draw(st.integers(0, len(values)))
    whole, first, second = make(), make(), make()
    see(whole, values)
    see(first, values[:cut])
    for before, after in zip(first, second, strict=True):
        after.load_state_dict(json.loads(json.dumps(before.state_dict(), allow_nan=False)))
    see(second, values[cut:])
    for one, other in zip(whole, second, strict=True):
        assert one.state_dict() == other.state_dict()
    assert (whole[0].reason, whole[0].improved) == (second[0].reason, second[0].improved)


def test_a_metric_that_an_evaluation_does_not_give_is_an_error_and_no_silence():
    with pytest.raises(KeyError):
        Best("validation/accuracy", greater_is_better=True).saw({"test/accuracy": 0.5})


@pytest.mark.parametrize(("greater", "sign"), [(True, 1), (False, -1)])
def test_a_score_is_the_greater_the_better_whatever_the_metric(greater, sign):
    selection = Scores("m", greater_is_better=greater)
    seen = [(selection.saw({"m": sign * value}), selection.improved) for value in (0.5, 0.25, 0.75, 0.75)]
    assert seen == [(0.5, True), (0.25, False), (0.75, True), (0.75, False)]
    later = Scores("m", greater_is_better=greater)
    later.load_state_dict(json.loads(json.dumps(selection.state_dict())))
    assert (later.saw({"m": sign * 0.5}), later.improved) == (0.5, False)
    assert (later.saw({"m": sign * 1.0}), later.improved) == (1.0, True)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_what_is_not_finite_has_no_score(bad):
    selection = Scores("m", greater_is_better=True)
    assert (selection.saw({"m": bad}), selection.improved) == (None, False)
