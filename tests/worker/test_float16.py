"""Runs in float16: they learn as those in float32 do, and go on from a checkpoint bit for bit."""

import numpy as np
import pytest
import torch

from tests.worker.support import Kept, make_run, trained
from worker.snapshot import restore
from worker.trainer import train

SGD = {"name": "SGD", "lr": 0.1, "momentum": 0.9}
ADAMW = {"name": "AdamW", "lr": 0.01}


@pytest.mark.parametrize("optimizer", [SGD, ADAMW, {**SGD, "accumulate": 3}], ids=str)
def test_float16_trains_as_float32_does_and_records_gradients_of_the_loss_itself(digits, optimizer):
    options = {"steps": 40, "optimizer": optimizer, "statistics": {"every": 1}}
    _, half = trained(digits, precision="float16", **options)
    _, exact = trained(digits, **options)
    losses, expected = half.series("train/loss"), exact.series("train/loss")
    assert not np.array_equal(losses, expected)
    np.testing.assert_allclose(losses, expected, rtol=0.05)
    ((_, found, _),), ((_, wanted, _),) = half.sites["norm1"], exact.sites["norm1"]
    np.testing.assert_allclose(found["layer.gradient_norm"][0], wanted["layer.gradient_norm"][0], rtol=0.01)
    dtypes = {value.dtype for name, value in half.snapshots[-1].weights.items() if "tracked" not in name}
    assert dtypes == {torch.float32}


@pytest.mark.parametrize("optimizer", [SGD, ADAMW], ids=str)
def test_a_resumed_run_goes_on_bit_for_bit_with_the_factor_that_it_had(digits, optimizer):
    options = {"precision": "float16", "steps": 12, "optimizer": optimizer, "checkpoint": {"every": 6}}
    options["scheduler"] = {"name": "OneCycleLR", "max_lr": 0.1, "warmup_steps": 3}

    def started():
        run = make_run(digits, **options)
        # So large that the first steps overflow.
        run.scaler.load_state_dict(run.scaler.state_dict() | {"scale": 2.0**40, "growth_interval": 4})
        return run

    whole, first = started(), Kept()
    assert train(whole, first, lambda: None) is None
    middle, end = first.snapshots
    assert middle.state["parts"]["scaler"]["scale"] < 2.0**40
    resumed, second = make_run(digits, **options), Kept()
    assert train(resumed, second, lambda: None, restore(resumed, middle)) is None
    for name, value in end.weights.items():
        assert torch.equal(second.snapshots[-1].weights[name], value), name
    assert second.snapshots[-1].state["parts"]["scaler"] == end.state["parts"]["scaler"]
