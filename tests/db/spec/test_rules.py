"""Rules that join several fields, and what they say."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from db.spec.job import JobSpec, units_to_record
from tests.db.support import make_spec, spec_values


def refusal(**changes: Any) -> dict[str, Any]:
    """Code and context of the one error that a spec is refused for."""
    with pytest.raises(ValidationError) as refused:
        make_spec(**changes)
    (error,) = refused.value.errors(include_url=False)
    return {"code": error["type"], **error["ctx"]}


@pytest.mark.parametrize("changes", [{"epochs": 2}, {"steps": None}], ids=["both", "neither"])
def test_exactly_one_of_steps_and_epochs_is_given(changes):
    error = refusal(**changes)
    assert (error["code"], error["pointer"]) == ("exactly_one", "/steps")
    assert error["allowed"] == ["steps", "epochs"]


@pytest.mark.parametrize(
    ("dataset", "available"),
    [
        ({"name": "digits"}, 1437),
        ({"name": "digits", "train_limit": 100}, 100),
        ({"name": "digits", "train_limit": 5000}, 1437),
        ({"name": "mnist"}, 60_000),
    ],
)
def test_a_batch_is_at_most_the_training_data(dataset, available):
    assert make_spec(dataset=dataset, batch_size=available).batch_size == available
    error = refusal(dataset=dataset, batch_size=available + 1)
    assert (error["code"], error["pointer"]) == ("batch_too_large", "/batch_size")
    assert error["allowed"] == f"1 to {available}"


def test_a_batch_of_one_is_refused_with_batch_statistics_and_taken_without():
    error = refusal(batch_size=1)
    assert (error["code"], error["pointer"]) == ("one_value_per_channel", "/batch_size")
    assert error["allowed"] == "2 to 1437"
    assert make_spec(batch_size=2).batch_size == 2
    assert make_spec(batch_size=1, norm={"name": "none"}).batch_size == 1


def test_epochs_that_are_more_steps_than_a_job_may_have_are_refused():
    most = 10**9 // 45
    assert make_spec(steps=None, epochs=most).resolved().steps <= 10**9
    error = refusal(steps=None, epochs=most + 1)
    assert (error["code"], error["pointer"]) == ("too_long", "/epochs")
    assert error["allowed"] == f"1 to {most}"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"percentiles": [50, 15, 50.0]}, "/statistics/percentiles"),
        ({"percentiles": [50, 50.0000001]}, "/statistics/percentiles"),
        ({"units": {"norm1": [3, 0, 3]}}, "/statistics/units/norm1"),
    ],
    ids=str,
)
def test_records_that_would_have_the_same_name_are_refused(changes, pointer):
    error = refusal(statistics=changes)
    assert (error["code"], error["pointer"]) == ("not_distinct", pointer)


def test_units_of_a_site_that_is_not_there_are_refused_by_its_name():
    error = refusal(statistics={"units": {"norm3": [0]}})
    assert (error["code"], error["pointer"]) == ("unknown_site", "/statistics/units/norm3")
    assert (error["allowed"], error["given"]) == (["norm1", "norm2"], "norm3")


@pytest.mark.parametrize(("site", "unit"), [("norm1", 8), ("norm2", 4), ("norm2", 10**6)])
def test_units_that_a_site_does_not_have_are_refused(site, unit):
    error = refusal(statistics={"units": {site: [0, unit]}})
    assert (error["code"], error["pointer"]) == ("unknown_unit", f"/statistics/units/{site}")
    assert make_spec(statistics={"units": {"norm1": [7], "norm2": [3]}}).statistics.units["norm1"] == (7,)


@pytest.mark.parametrize("site", ["a{b}c", "{0}", "}{"])
def test_a_message_with_braces_of_the_client_is_plain_text(site):
    assert refusal(statistics={"units": {site: [0]}})["pointer"] == f"/statistics/units/{site}"


def test_units_to_record_are_three_of_the_last_site_or_those_that_are_named():
    assert units_to_record(make_spec()) == {"norm2": (0, 1, 2)}
    narrow = make_spec(architecture={"name": "mlp", "hidden": [8, 2]})
    assert units_to_record(narrow) == {"norm2": (0, 1)}
    assert units_to_record(make_spec(norm={"name": "none"})) == {"norm2": (0, 1, 2)}
    assert units_to_record(make_spec(statistics={"units": {"norm1": [5, 0]}})) == {"norm1": (5, 0)}
    assert units_to_record(make_spec(statistics={"units": {}})) == {}


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("dataset",),
        ("architecture",),
        ("architecture", "init"),
        ("norm",),
        ("optimizer",),
        ("record",),
        ("evaluate",),
        ("statistics",),
        ("checkpoint",),
    ],
    ids=".".join,
)
def test_an_unknown_key_is_refused_in_every_part(path):
    values = full_values()
    part = values
    for key in path:
        part = part[key]
    assert JobSpec.model_validate(values)
    part["unheard_of"] = 1
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        JobSpec.model_validate(values)


def full_values() -> dict[str, Any]:
    """A spec that names every part."""
    values = spec_values(
        dataset={"name": "digits", "binarize": True},
        architecture={"name": "mlp", "hidden": [8, 4], "init": {"name": "normal", "std": 0.1}},
        norm={"name": "batch", "momentum": 0.2},
        optimizer={"name": "AdamW", "lr": 0.01},
        record={"every": 2},
        evaluate={"every": 7},
        statistics={"every": 9},
        checkpoint={"every": 11},
    )
    return json.loads(json.dumps(values))


@pytest.mark.parametrize("part", ["dataset", "architecture", "batch_size"])
def test_what_has_no_default_must_be_given(part):
    values = spec_values()
    del values[part]
    with pytest.raises(ValidationError) as refused:
        JobSpec.model_validate(values)
    assert [(error["type"], error["loc"]) for error in refused.value.errors()] == [("missing", (part,))]


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": {"name": "none", "momentum": 0.1}},
        {"norm": {"name": "layers"}},
        {"norm": {"momentum": 0.1}},
        {"architecture": {"name": "mlp", "hidden": [8], "init": {"name": "normal"}}},
        {"architecture": {"name": "mlp", "hidden": [8], "init": {"name": "xavier_normal", "std": 0.1}}},
        {"architecture": {"name": "alexnet"}},
        {"optimizer": {"name": "SGD", "betas": [0.9, 0.99]}},
        {"optimizer": {"name": "sgd"}},
        {"dataset": {"name": "cifar100"}},
    ],
    ids=str,
)
def test_a_part_with_the_name_or_options_of_none_is_refused(changes):
    with pytest.raises(ValidationError):
        make_spec(**changes)


def test_a_norm_without_running_averages_has_nothing_to_freeze():
    error = refusal(norm={"name": "batch", "track": False, "freeze_after": 10})
    assert (error["code"], error["pointer"], error["allowed"]) == (
        "nothing_to_freeze",
        "/norm/freeze_after",
        [None],
    )
    assert "track is false" in error["message"]
    assert make_spec(norm={"name": "batch", "freeze_after": 10}).norm.freeze_after == 10


def test_noise_alone_has_nothing_to_freeze():
    error = refusal(norm={"name": "noisy_batch", "normalize": False, "freeze_after": 10})
    assert (error["code"], error["pointer"]) == ("nothing_to_freeze", "/norm/freeze_after")
    assert "normalize is false" in error["message"]
    assert make_spec(norm={"name": "noisy_batch", "freeze_after": 10}).norm.freeze_after == 10
