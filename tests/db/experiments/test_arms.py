"""From a declaration to its cells."""

import pytest
from pydantic import ValidationError

from db.experiments.arms import InvalidArms, Refused, expand
from db.spec.job import JobSpec
from tests.db.experiments.support import declared


def names(**changes) -> list[str]:
    return [arm.name for arm in expand(declared(**changes)).arms]


def refused(**changes) -> Refused:
    with pytest.raises(Refused) as caught:
        expand(declared(**changes))
    return caught.value


def test_every_point_of_the_axes_is_an_arm_in_one_order():
    assert names() == ["norm none, lr 0.1", "norm none, lr 0.3", "norm batch, lr 0.1", "norm batch, lr 0.3"]


def test_named_arms_are_multiplied_with_the_axes():
    arms = [
        {"name": "plain", "set": {"norm": "none"}},
        {"name": "BN", "set": {"norm": {"name": "batch", "momentum": 0.2}, "batch_size": 64}},
    ]
    found = expand(declared(arms=arms, axes={"optimizer.lr": [0.1, 1.0]})).arms
    assert [arm.name for arm in found] == ["plain, lr 0.1", "plain, lr 1", "BN, lr 0.1", "BN, lr 1"]
    assert found[3].coordinates == {"arm": "BN", "optimizer.lr": 1.0}
    assert found[3].resolved["norm"]["momentum"] == 0.2
    assert found[3].resolved["batch_size"] == 64


def test_without_arms_and_axes_the_base_is_the_arm():
    assert names(axes={}) == ["base"]


def test_a_cell_has_the_hash_of_its_job():
    arm = expand(declared()).arms[2]
    spec = JobSpec.model_validate(arm.spec | {"seed": 7, "name": "n", "labels": {"a": "b"}})
    assert arm.cell_id(7) == spec.digest()


def test_what_is_excluded_is_counted():
    made = expand(declared(exclude=[{"norm": "batch", "optimizer.lr": 0.3}]))
    assert [arm.name for arm in made.arms] == ["norm none, lr 0.1", "norm none, lr 0.3", "norm batch, lr 0.1"]
    assert (made.declared, made.excluded, made.equal) == (8, 2, 0)


def test_what_is_a_default_is_excluded_too():
    made = expand(declared(axes={"norm": ["none", "batch"]}, exclude=[{"norm": "batch", "optimizer.lr": 0.1}]))
    assert [arm.name for arm in made.arms] == ["norm none"]
    assert (made.declared, made.excluded) == (4, 2)


@pytest.mark.parametrize("pattern", [{"norm": "layer"}, {"optimizer.lr": 0.7}, {"arm": "nobody"}])
def test_an_entry_that_excludes_nothing_is_refused(pattern):
    error = refused(exclude=[{"norm": "batch"}, pattern])
    assert (error.code, error.pointer) == ("no_such_cell", "/exclude/1")


def test_what_is_excluded_need_not_be_valid():
    axes = {"norm": ["none", {"name": "group", "groups": 3}]}
    assert names(axes=axes, exclude=[{"norm": {"name": "group", "groups": 3}}]) == ["norm none"]


def test_equal_arms_are_one_and_are_counted():
    made = expand(declared(axes={"norm": ["batch", {"name": "batch", "momentum": 0.1}]}))
    assert [arm.name for arm in made.arms] == ["norm batch"]
    assert (made.declared, made.equal) == (4, 2)


def test_ten_thousand_cells_are_the_most():
    rates = [0.001 * number for number in range(1, 5002)]
    error = refused(axes={"optimizer.lr": rates})
    assert error.code == "too_many_cells"
    assert "10002 cells" in error.message


def test_a_product_that_no_one_could_look_at_is_refused_at_once():
    many = [0.001 * number for number in range(1, 2001)]
    assert (
        "16000000 cells"
        in refused(axes={"optimizer.lr": many, "norm.eps": many, "norm": ["batch", "layer"]}).message
    )


def test_trials_of_a_search_count_as_cells():
    search = {"name": "optuna", "trials": 2000, "space": {"norm.eps": {"low": 0.001, "high": 1.0}}}
    axes = {"norm": ["batch", "layer"], "optimizer.lr": [0.1, 0.3]}
    assert "16000 cells" in refused(search=search, axes=axes).message


@pytest.mark.parametrize(
    ("seeds", "trials", "pointer"),
    [(1000, 10, "/seeds"), (4, 5000, "/search/trials"), (200, 100, "/axes/optimizer.lr")],
)
def test_too_many_cells_are_refused_at_what_makes_the_most_of_them(seeds, trials, pointer):
    rates = [0.001 * number for number in range(1, 301 if pointer.endswith("lr") else 3)]
    search = {"name": "optuna", "trials": trials, "space": {"batch_size": {"choices": [16, 32]}}}
    error = refused(seeds=seeds, search=search, axes={"optimizer.lr": rates})
    assert error.pointer == pointer
    assert f"{seeds} of /seeds x {trials} of /search/trials" in error.message


def test_all_excluded_is_refused():
    assert refused(exclude=[{"batch_size": 32}]).code == "no_cells"


def test_a_baseline_that_no_arm_is_is_refused_with_those_that_there_are():
    error = refused(baseline={"norm": "layer"})
    assert error.pointer == "/baseline"
    assert "norm none, lr 0.1" in error.allowed


@pytest.mark.parametrize("baseline", [{"norm": "none"}, {"norm.name": "none"}, {"optimizer.lr": 0.3}])
def test_a_baseline_may_name_any_value(baseline):
    assert expand(declared(baseline=baseline)).arms


def test_a_target_must_be_measured_by_every_arm():
    error = refused(target={"metric": "ema/test/accuracy", "value": 0.9})
    assert (error.code, error.pointer) == ("metric_not_evaluated", "/target/metric")
    assert "test/accuracy" in error.allowed


def test_arms_that_are_no_spec_are_told_with_their_place():
    with pytest.raises(InvalidArms) as caught:
        expand(declared(axes={"norm": ["batch", {"name": "group", "groups": 3}], "optimizer.lr": [0.1, -1]}))
    positions = [setting.positions for setting, _ in caught.value.wrong]
    assert positions == [
        {"norm": 0, "optimizer.lr": 1},
        {"norm": 1, "optimizer.lr": 0},
        {"norm": 1, "optimizer.lr": 1},
    ]
    assert all(isinstance(error, ValidationError) for _, error in caught.value.wrong)
