"""Defaults, the resolved spec, its digest and its length."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from db.spec.job import JobSpec
from tests.db.support import make_spec, spec_values
from worker.data.order import BatchOrder

WIDE_RANGE = [
    {},
    {"norm": {"name": "none"}, "batch_size": 1},
    {"steps": None, "epochs": 3},
    {"steps": None, "epochs": 1, "batch_size": 1437},
    {"steps": 1},
    {"name": "n", "labels": {"a": "b"}, "seed": 2**63 - 1, "device": "cuda"},
    {"dataset": {"name": "mnist", "binarize": True, "train_limit": 61}, "steps": None, "epochs": 2},
    {"dataset": {"name": "cifar10", "standardize": True, "test_limit": 1000}},
    {"architecture": {"name": "mlp", "hidden": [3], "init": {"name": "normal", "std": 0.1}}},
    {"norm": {"name": "batch", "affine": False, "position": "before_activation", "eps": 1e-3}},
    {"optimizer": {"name": "AdamW", "betas": [0.8, 0.9], "decay_norm": True}},
    {"statistics": {"units": {"norm1": [0, 7]}, "percentiles": []}, "evaluate": {"modes": []}},
    {"export": []},
    {"task": "classification", "loss": {"name": "cross_entropy", "reduction": "sum"}},
    {"dataset": {"name": "gaussian_linear"}, "loss": {"reduction": "sum"}},
    {"dataset": {"name": "digits", "classes_per_batch": 4}},
    {"dataset": {"name": "digits", "validation_fraction": 0.2}, "early_stopping": {}, "steps": None, "epochs": 1},
    {"early_stopping": {"metric": "gap/precise/loss", "patience": None, "target": 0.5}},
    {"scheduler": {"name": "CosineAnnealingLR", "warmup_steps": 10}, "precision": "float16"},
]
specs = pytest.mark.parametrize("changes", WIDE_RANGE, ids=lambda changes: repr(changes)[:60])


#: No more than a job has to say.
LEAST = {
    "dataset": {"name": "mnist"},
    "architecture": {"name": "mlp", "hidden": [100, 100, 100]},
    "batch_size": 60,
    "steps": 50_000,
}


def test_defaults_are_those_of_the_documentation():
    assert JobSpec.model_validate(LEAST).to_json() == {
        "name": None,
        "labels": {},
        "task": None,
        "dataset": {
            "name": "mnist",
            "binarize": False,
            "standardize": False,
            "train_limit": None,
            "test_limit": None,
            "validation_fraction": 0.0,
            "classes_per_batch": None,
        },
        "architecture": {
            "name": "mlp",
            "hidden": [100, 100, 100],
            "activation": "relu",
            "dropout": 0.0,
            "init": {"name": "default"},
        },
        "norm": {"name": "none", "position": "auto"},
        "loss": {"name": "auto", "reduction": "mean"},
        "optimizer": {
            "name": "SGD",
            "lr": 0.1,
            "momentum": 0.0,
            "weight_decay": 0.0,
            "decay_norm": False,
            "accumulate": 1,
        },
        "scheduler": None,
        "ema": None,
        "batch_size": 60,
        "steps": 50_000,
        "epochs": None,
        "seed": 0,
        "precision": "float32",
        "device": "auto",
        "record": {"every": 1},
        "evaluate": {
            "every": None,
            "modes": ["eval", "train", "precise"],
            "train_samples": 2000,
            "population": "batch",
        },
        "statistics": {"every": 100, "details": True, "percentiles": [15, 50, 85], "units": "last"},
        "probes": [],
        "checkpoint": {"every": 5000, "keep_last": 2, "keep_best": 1},
        "early_stopping": None,
        "max_runtime_seconds": 86_400,
        "export": ["safetensors"],
    }


def test_batch_norm_is_never_frozen_by_default():
    assert make_spec(norm={"name": "batch"}).to_json()["norm"]["freeze_after"] is None


@pytest.mark.parametrize(
    ("dataset", "task", "loss"),
    [("digits", "classification", "cross_entropy"), ("gaussian_linear", "regression", "mse")],
)
def test_the_resolved_spec_says_the_task_and_the_loss(dataset, task, loss):
    spec = make_spec(dataset={"name": dataset})
    assert (spec.task, spec.loss.name) == (None, "auto")
    resolved = spec.resolved().to_json()
    assert (resolved["task"], resolved["loss"]) == (task, {"name": loss, "reduction": "mean"})
    named = make_spec(dataset={"name": dataset}, task=task, loss={"name": loss})
    assert named.digest() == spec.digest()


@specs
def test_resolving_is_a_fixed_point_and_gives_a_valid_spec(changes):
    resolved = make_spec(**changes).resolved()
    assert resolved.resolved() == resolved
    assert JobSpec.model_validate(resolved.to_json()) == resolved
    assert resolved.epochs is None
    assert resolved.steps >= 1
    assert resolved.evaluate.every >= 1


def test_the_longest_job_that_is_taken_can_be_read_back_by_a_worker():
    most = 10**9 // 1437
    resolved = make_spec(steps=None, epochs=most, norm={"name": "none"}, batch_size=1).resolved()
    assert resolved.steps == most * 1437
    assert JobSpec.model_validate(resolved.to_json()) == resolved


@specs
def test_a_spec_survives_json_to_the_byte(changes):
    spec = make_spec(**changes)
    text = json.dumps(spec.to_json(), allow_nan=False)
    restored = JobSpec.model_validate(json.loads(text))
    assert restored == spec
    assert json.dumps(restored.to_json()) == text


@specs
def test_the_digest_is_that_of_the_spec_that_a_worker_reads_back(changes):
    spec = make_spec(**changes)
    restored = JobSpec.model_validate(json.loads(json.dumps(spec.resolved().to_json())))
    assert restored.digest() == spec.resolved().digest() == spec.digest()


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"labels": {"team": "a"}},
        {"steps": None, "epochs": 1000 // 45 + 1},
        {"seed": 0},
        {"optimizer": {"name": "SGD"}},
        {"statistics": {"percentiles": [15, 50, 85]}},
        {"statistics": {"percentiles": [15.0, 50.0, 85.0]}},
        {"evaluate": {"every": 103}},
        {"norm": {"momentum": 0.1, "name": "batch"}},
        {"early_stopping": None, "checkpoint": {"keep_best": 1}},
    ],
    ids=str,
)
def test_the_digest_ignores_names_labels_and_the_way_of_saying_the_same(changes):
    assert make_spec(steps=None, epochs=23).batches_per_epoch() == 45
    base = {"steps": 23 * 45}
    assert make_spec(**base | changes).digest() == make_spec(**base).digest()


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 1001},
        {"seed": 1},
        {"batch_size": 33},
        {"norm": {"name": "none"}},
        {"norm": {"name": "batch", "momentum": 0.2}},
        {"dataset": {"name": "digits", "binarize": True}},
        {"dataset": {"name": "digits", "standardize": True}},
        {"dataset": {"name": "digits", "test_limit": 100}},
        {"optimizer": {"name": "SGD", "lr": 0.2}},
        {"evaluate": {"every": 7}},
        {"device": "cpu"},
        {"loss": {"reduction": "sum"}},
        {"dataset": {"name": "digits", "classes_per_batch": 2}},
        {"dataset": {"name": "digits", "validation_fraction": 0.1}},
        {"early_stopping": {}},
        {"checkpoint": {"keep_best": 0}},
        {"max_runtime_seconds": 60},
    ],
    ids=str,
)
def test_the_digest_tells_different_jobs_apart(changes):
    assert make_spec(**changes).digest() != make_spec().digest()


def test_a_digest_is_a_sha256():
    assert set(make_spec().digest()) <= set("0123456789abcdef")
    assert len(make_spec().digest()) == 64


def limited(samples: int, batch_size: int) -> JobSpec:
    return JobSpec.model_validate(
        spec_values(
            dataset={"name": "digits", "train_limit": samples}, batch_size=batch_size, norm={"name": "none"}
        )
    )


def batches(samples: int, size: int) -> tuple[torch.Tensor, ...]:
    return BatchOrder(samples=samples, size=size, seed=0).epoch(1)


@settings(max_examples=200)
@given(samples=st.integers(2, 300), data=st.data())
def test_steps_of_an_epoch_equal_its_batches(samples, data):
    size = data.draw(st.integers(2, samples))
    assert limited(samples, size).batches_per_epoch() == len(batches(samples, size))


@pytest.mark.parametrize("samples", [1, 2, 3, 50])
def test_steps_of_an_epoch_equal_its_batches_where_a_batch_is_one_sample(samples):
    assert limited(samples, 1).batches_per_epoch() == len(batches(samples, 1))


@pytest.mark.parametrize(("size", "steps"), [(1437, 1), (1436, 1), (1435, 2), (718, 2), (359, 4), (32, 45)])
def test_a_ragged_batch_counts_and_a_single_sample_joins_the_one_before(size, steps):
    assert make_spec(batch_size=size).batches_per_epoch() == steps
    assert make_spec(batch_size=size, steps=None, epochs=3).resolved().steps == 3 * steps


@settings(max_examples=100)
@given(size=st.integers(2, 1437), epochs=st.integers(1, 5), accumulate=st.integers(1, 1024))
def test_epochs_are_rounded_down_to_whole_steps_and_those_of_less_than_one_are_refused(size, epochs, accumulate):
    optimizer = {"name": "SGD", "accumulate": accumulate}
    batches = epochs * make_spec(batch_size=size).batches_per_epoch()
    changes = {"batch_size": size, "steps": None, "epochs": epochs, "optimizer": optimizer}
    if batches < accumulate:
        with pytest.raises(ValidationError) as refused:
            make_spec(**changes)
        (error,) = refused.value.errors(include_url=False)
        assert (error["type"], error["ctx"]["pointer"]) == ("too_short", "/optimizer/accumulate")
        assert error["ctx"]["allowed"] == f"1 to {batches}"
    else:
        steps = make_spec(**changes).resolved().steps
        assert steps >= 1
        assert batches - accumulate < steps * accumulate <= batches


def test_as_many_accumulated_batches_as_the_epochs_have_make_one_step():
    epoch = {"batch_size": 60, "steps": None, "epochs": 1}
    assert make_spec(**epoch, optimizer={"name": "SGD", "accumulate": 24}).resolved().steps == 1
    with pytest.raises(ValidationError, match="takes 25 batches, and so many epochs have 24"):
        make_spec(**epoch, optimizer={"name": "SGD", "accumulate": 25})
    assert make_spec(batch_size=60, steps=1, optimizer={"name": "SGD", "accumulate": 25}).resolved().steps == 1


@pytest.mark.parametrize("length", [{"steps": 100}, {"steps": None, "epochs": 10}], ids=str)
def test_the_ramps_of_batch_renorm_count_the_batches_that_each_step_accumulates(length):
    norm = {"name": "batch_renorm", "r_ramp": [0.1, 0.5], "d_ramp": [0.2, 0.4]}
    spec = make_spec(norm=norm, optimizer={"name": "AdamW", "accumulate": 4}, **length)
    updates = 4 * spec.resolved().steps
    assert updates == {"steps": 400, "epochs": 448}["steps" if spec.steps else "epochs"]
    ramps = {"r_begin": 0.1, "r_end": 0.5, "d_begin": 0.2, "d_end": 0.4}
    for blueprint in (spec.blueprint(), spec.resolved().blueprint()):
        options = dict(blueprint.body.layers[2][1].options)
        assert {name: options[name] for name in ramps} == {n: round(v * updates) for n, v in ramps.items()}


@pytest.mark.parametrize(("steps", "every"), [(1, 1), (9, 1), (10, 1), (25, 2), (1000, 100)])
def test_evaluations_are_a_tenth_of_the_steps_apart_unless_said_otherwise(steps, every):
    assert make_spec(steps=steps).resolved().evaluate.every == every
    assert make_spec(steps=steps, evaluate={"every": 7}).resolved().evaluate.every == 7
