"""What may be declared."""

import pytest
from pydantic import ValidationError

from db.experiments.declaration import Declaration
from db.presets.table import PRESETS
from tests.db.experiments.support import declared


def code_of(**changes) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        declared(**changes)
    error = caught.value.errors()[0]
    return error["type"], error.get("ctx", {}).get("pointer", "/" + "/".join(map(str, error["loc"])))


def test_a_number_of_seeds_stands_for_the_first_ones():
    assert declared(seeds=3).seeds == (0, 1, 2)
    assert declared(seeds=[7]).seeds == (7,)
    assert code_of(seeds=True)[1] == "/seeds"
    assert code_of(seeds=0)[1] == "/seeds"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seeds": [1, 1]}, ("not_distinct", "/seeds")),
        ({"arms": [{"name": "a"}, {"name": "a"}]}, ("not_distinct", "/arms")),
        ({"axes": {"seed": [1, 2]}}, ("not_varied", "/axes/seed")),
        ({"base": {"labels": {}}}, ("not_varied", "/base/labels")),
        ({"axes": {"norn": ["batch"]}}, ("unknown_path", "/axes/norn")),
        ({"axes": {"norm": []}}, ("too_short", "/axes/norm")),
        ({"arms": [{"name": "a", "set": {"optimiser.lr": 1}}]}, ("unknown_path", "/arms/0/set/optimiser.lr")),
        ({"arms": [{"name": "a", "set": {"norm": "none"}}]}, ("set_twice", "/arms/0/set/norm")),
        ({"exclude": [{"optimiser.lr": 1}]}, ("unknown_path", "/exclude/0/optimiser.lr")),
        ({"baseline": {"nrm": "none"}}, ("unknown_path", "/baseline/nrm")),
        ({"seeds": "3"}, ("no_seeds", "/seeds")),
        ({"seeds": 5000}, ("no_seeds", "/seeds")),
        (
            {"search": {"name": "optuna", "trials": 3, "space": {"norm": {"choices": ["batch", "layer"]}}}},
            ("set_twice", "/search/space/norm"),
        ),
        ({"axes": {"optimizer.learning_rate": [1]}}, ("unknown_path", "/axes/optimizer.learning_rate")),
        ({"target": {"metric": "test/accuracy", "value": 95}}, ("not_a_share", "/target/value")),
        ({"target": {"metric": "gap/precise/accuracy", "value": -0.1}}, ("not_a_share", "/target/value")),
        ({"scale": "quick"}, ("no_preset", "/scale")),
        ({"preset": "ioffe2051"}, ("unknown_preset", "/preset")),
        ({"preset": "depth"}, ("set_by_preset", "/axes")),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(changes, expected):
    assert code_of(**changes) == expected


def test_only_shares_are_bounded():
    for metric, value in (("test/accuracy", 1.0), ("test/loss", 2.5), ("test/rmse", 95.0)):
        assert declared(target={"metric": metric, "value": value}).target.value == value


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ({"optimizer.lr": {"low": 1.0, "high": 0.1}}, ("not_in_order", "/search/space/optimizer.lr/high")),
        (
            {"optimizer.lr": {"low": 0.0, "high": 0.1, "log": True}},
            ("not_positive", "/search/space/optimizer.lr/low"),
        ),
        ({"batch_size": {"low": 8, "high": 64}}, ("not_integer", "/search/space/batch_size/integer")),
        ({"epochs": {"low": 1.5, "high": 3, "integer": True}}, ("not_integer", "/search/space/epochs")),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(space, expected):
    assert code_of(search={"name": "optuna", "trials": 3, "space": space}) == expected


def test_a_preset_says_everything_and_its_seeds_may_be_others():
    made = Declaration.model_validate({"preset": "depth", "seeds": [5], "max_parallel": 2})
    assert made.scale == "quick"
    assert made.base == PRESETS["depth"].scales["quick"]["base"]
    assert (made.seeds, made.max_parallel, made.name) == ((5,), 2, None)


def test_what_a_preset_says_the_client_left_out():
    made = Declaration.model_validate({"preset": "depth", "seeds": [5], "max_parallel": None})
    assert made.target is not None
    assert made.model_fields_set == {"preset", "seeds", "max_parallel"}


def test_null_takes_the_target_of_a_preset_away():
    assert Declaration.model_validate({"preset": "depth", "target": None}).target is None


def test_a_declaration_that_was_read_can_be_posted_again():
    made = Declaration.model_validate({"preset": "depth", "scale": "smoke"})
    assert Declaration.model_validate(made.model_dump(mode="json")) == made
