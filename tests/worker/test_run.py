"""What a run is made of, and what a job shows of its errors."""

import random

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from db.status import FailureCode
from models.catalog.names import ActivationName, InitName, NormName
from tests.worker.support import CPU, make_run, small_spec, trained
from worker import assembly as runs
from worker.device import choose_device, describe
from worker.errors import DataError, DeviceUnavailable, Diverged, TrainingError
from worker.run import explain
from worker.seeding import seed_everything


@pytest.mark.parametrize("norm", [NormName.NONE, NormName.BATCH, NormName.LAYER])
@pytest.mark.parametrize("activation", list(ActivationName))
def test_every_activation_trains_and_is_measured(digits, norm, activation):
    architecture = {"name": "mlp", "hidden": [16, 8], "activation": activation}
    _, reporter = trained(digits, norm={"name": norm}, architecture=architecture, steps=30)
    losses = reporter.series("train/loss")
    assert np.isfinite(losses).all()
    assert losses[-10:].mean() < losses[:10].mean()
    assert set(reporter.sites) == {"norm1", "norm2"}


@pytest.mark.parametrize("name", list(InitName))
def test_every_init_trains(digits, name):
    needs_std = name in (InitName.NORMAL, InitName.TRUNC_NORMAL)
    init = {"name": name, "std": 0.1} if needs_std else {"name": name}
    architecture = {"name": "mlp", "hidden": [8, 4], "init": init}
    _, reporter = trained(digits, architecture=architecture, steps=3)
    assert np.isfinite(reporter.series("train/loss")).all()


def test_the_plan_is_the_specs(digits):
    every = {"statistics": {"every": 7}, "checkpoint": {"every": 9}, "evaluate": {"every": None}}
    run = make_run(digits, steps=None, epochs=2, seed=5, **every)
    plan, order = run.plan, run.order
    assert (order.samples, order.size, order.seed) == (1437, 32, 5)
    assert (plan.steps, plan.accumulate) == (90, 1)
    assert (plan.evaluate_every, plan.checkpoint_every) == (9, 9)


def test_data_is_scaled_to_one_and_limited_as_the_spec_says(digits):
    run = make_run(digits, dataset={"name": "digits", "train_limit": 300}, evaluate={"train_samples": 100})
    assert (len(run.data.train), len(run.data.test), len(run.data.gap)) == (300, 360, 100)
    inputs, _ = run.data.train.batch(torch.arange(300))
    assert inputs.max() == 1.0
    binary = runs.place_data(small_spec(dataset={"name": "digits", "binarize": True}), digits, CPU)
    assert binary.train.scale == 1.0


def test_the_gap_subset_holds_at_least_one_batch(digits):
    run = make_run(digits, batch_size=500, evaluate={"train_samples": 50})
    assert len(run.data.gap) == 500
    assert "gap/train_mode/loss" in run.evaluator.evaluate().metrics


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("optimizer", {"name": "SGD", "lr": 1e39}),
        ("optimizer", {"name": "SGD", "momentum": 1e39}),
        ("optimizer", {"name": "AdamW", "lr": 1e39}),
        ("norm", {"name": "batch", "eps": 1e39}),
        ("norm", {"name": "batch", "eps": 1e-50}),
    ],
    ids=str,
)
def test_numbers_beyond_float32_are_refused_or_end_as_a_divergence_and_not_as_a_fault_of_ours(
    digits, part, values
):
    try:
        trained(digits, steps=3, **{part: values})
    except (ValidationError, Diverged):
        return


@pytest.mark.parametrize(
    ("error", "code", "step"),
    [
        (Diverged(7, float("nan"), 0.1), FailureCode.DIVERGED, 7),
        (DataError("message", "hint"), FailureCode.DATA_ERROR, None),
        (DeviceUnavailable("cuda"), FailureCode.DEVICE_UNAVAILABLE, None),
        (MemoryError(), FailureCode.OUT_OF_MEMORY, None),
        (torch.OutOfMemoryError("CUDA out of memory"), FailureCode.OUT_OF_MEMORY, None),
        (ZeroDivisionError("division by zero"), FailureCode.INTERNAL_ERROR, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_is_shown_with_its_code_a_message_and_advice(error, code, step):
    failure = explain(error)
    assert (failure.code, failure.step) == (code, step)
    assert failure.message
    assert failure.hint


def test_every_training_error_has_a_code_of_its_own():
    codes = [error.code for error in TrainingError.__subclasses__()]
    assert len(set(codes)) == len(codes)
    assert set(codes) <= {code.value for code in FailureCode}


def test_the_device_is_the_one_that_is_asked_for_or_none():
    assert choose_device("cpu").type == "cpu"
    if torch.cuda.is_available():
        assert choose_device("auto").type == choose_device("cuda").type == "cuda"
    else:
        assert choose_device("auto").type == "cpu"
        with pytest.raises(DeviceUnavailable, match="cuda"):
            choose_device("cuda")
    described = describe(CPU, "bfloat16")
    assert described["device"] == "cpu"
    assert described["torch"] == torch.__version__
    assert described["precision"] == "bfloat16"


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63 - 1])
def test_seeding_repeats_every_generator(seed):
    draws = []
    for _ in range(2):
        seed_everything(seed)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1]
    assert torch.are_deterministic_algorithms_enabled()
