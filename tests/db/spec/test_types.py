"""Types are strict and numbers finite: what a client may not have meant is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from db.spec.job import JobSpec
from tests.db.support import make_spec, spec_values

#: A path to every whole number of the spec.
WHOLE = [
    ("batch_size",),
    ("steps",),
    ("seed",),
    ("dataset", "train_limit"),
    ("dataset", "test_limit"),
    ("record", "every"),
    ("evaluate", "every"),
    ("evaluate", "train_samples"),
    ("statistics", "every"),
    ("checkpoint", "every"),
    ("checkpoint", "keep_last"),
]
REAL = [
    ("norm", "momentum"),
    ("norm", "eps"),
    ("optimizer", "lr"),
    ("optimizer", "momentum"),
    ("optimizer", "weight_decay"),
]
FLAGS = [("dataset", "binarize"), ("dataset", "standardize"), ("norm", "affine"), ("optimizer", "decay_norm")]


def with_value(path: tuple[str, ...], value: Any) -> JobSpec:
    values = spec_values()
    part = values
    for key in path[:-1]:
        part[key] = dict(part.get(key, {"name": "SGD"} if key == "optimizer" else {}))
        part = part[key]
    part[path[-1]] = value
    return JobSpec.model_validate(values)


def value_at(spec: JobSpec, path: tuple[str, ...]) -> Any:
    part: Any = spec
    for key in path:
        part = getattr(part, key)
    return part


@pytest.mark.parametrize("path", WHOLE, ids=".".join)
@pytest.mark.parametrize("value", ["60", 60.0, 60.5, True, [60], {}, -1, 2**70, float("nan")], ids=repr)
def test_a_whole_number_is_nothing_else(path, value):
    with pytest.raises(ValidationError):
        with_value(path, value)


@pytest.mark.parametrize("path", WHOLE, ids=".".join)
def test_a_whole_number_is_taken_as_it_is(path):
    assert value_at(with_value(path, 60), path) == 60


@pytest.mark.parametrize("path", [path for path in WHOLE if path != ("seed",)], ids=".".join)
def test_zero_is_no_count(path):
    with pytest.raises(ValidationError):
        with_value(path, 0)


@pytest.mark.parametrize("path", REAL, ids=".".join)
@pytest.mark.parametrize("value", ["0.1", True, [0.1], -0.1, float("nan"), float("inf"), float("-inf")], ids=repr)
def test_a_real_number_is_finite_not_negative_and_nothing_else(path, value):
    with pytest.raises(ValidationError):
        with_value(path, value)


@pytest.mark.parametrize("path", REAL, ids=".".join)
@pytest.mark.parametrize("value", [0.25, 1])
def test_a_real_number_may_be_whole(path, value):
    assert value_at(with_value(path, value), path) == value


@pytest.mark.parametrize("path", [("norm", "momentum"), ("norm", "eps"), ("optimizer", "lr")], ids=".".join)
def test_zero_is_refused_where_it_would_do_nothing(path):
    with pytest.raises(ValidationError):
        with_value(path, 0)


@pytest.mark.parametrize("path", FLAGS, ids=".".join)
@pytest.mark.parametrize("value", ["true", 1, 0, None, "yes"], ids=repr)
def test_a_flag_is_true_or_false_and_nothing_else(path, value):
    with pytest.raises(ValidationError):
        with_value(path, value)
    assert value_at(with_value(path, True), path) is True


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": {"name": "batch", "momentum": 1.01}},
        {"seed": 2**63},
        {"steps": 10**9 + 1},
        {"epochs": 10**9 + 1, "steps": None},
        {"statistics": {"percentiles": [101]}},
        {"statistics": {"percentiles": [-1]}},
        {"statistics": {"percentiles": ["50"]}},
        {"statistics": {"percentiles": list(range(17))}},
        {"statistics": {"percentiles": [float("nan")]}},
        {"statistics": {"units": "first"}},
        {"statistics": {"units": {"norm1": ["0"]}}},
        {"statistics": {"units": {"norm1": [-1]}}},
        {"evaluate": {"modes": ["test"]}},
        {"evaluate": {"train_samples": 1}},
        {"optimizer": {"name": "AdamW", "betas": [0.9, 1.0]}},
        {"optimizer": {"name": "AdamW", "betas": [0.9]}},
        {"architecture": {"name": "mlp", "hidden": []}},
        {"architecture": {"name": "mlp", "hidden": [0]}},
        {"architecture": {"name": "mlp", "hidden": [65_537]}},
        {"architecture": {"name": "mlp", "hidden": ["8"]}},
        {"architecture": {"name": "mlp", "hidden": [8] * 257}},
        {"architecture": {"name": "mlp", "hidden": [8], "activation": "softplus"}},
        {"name": ""},
        {"name": "   "},
        {"name": "x" * 201},
        {"labels": {"": "x"}},
        {"labels": {"-a": "x"}},
        {"labels": {"a b": "x"}},
        {"labels": {"a": 1}},
        {"labels": {"a": "x" * 201}},
        {"labels": {f"k{n}": "" for n in range(65)}},
        {"task": "regression"},
        {"precision": "float64"},
        {"device": "tpu"},
        {"export": ["onnx"]},
    ],
    ids=lambda changes: repr(changes)[:70],
)
def test_what_is_out_of_range_is_refused(changes):
    with pytest.raises(ValidationError):
        make_spec(**changes)


def test_the_spec_is_frozen_in_every_part():
    spec = make_spec()
    for part in (spec, spec.dataset, spec.architecture, spec.norm, spec.optimizer, spec.evaluate):
        name = next(iter(type(part).model_fields))
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, name, "x")
