"""Synchronized batch norm is batch norm of the joined batch (science.md section 7, item 9)."""

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing

from models.norms.batch import BatchNorm
from models.norms.running import RunningAverages
from models.norms.sync import SyncBatchNorm
from tests.models.norms import sync_process
from tests.models.norms.checks import (
    SHAPES,
    assert_same,
    channels,
    gradients_are_right,
    outputs_and_gradients,
    sample,
    with_random_state,
)

cases = pytest.mark.parametrize("case", sync_process.CASES, ids=", ".join)
momenta = pytest.mark.parametrize("momentum", sync_process.MOMENTA, ids=str)


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """What two processes found, each with its own part of the batches."""
    folder = tmp_path_factory.mktemp("sync")
    multiprocessing.spawn(sync_process.run, args=(folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def on_the_joined_batch(case, momentum):
    """Batch norm in one process, on what both processes have together."""
    norm = with_random_state(BatchNorm(sync_process.CHANNELS, momentum=momentum))
    averages = RunningAverages([norm])
    for step in range(sync_process.STEPS):
        found = outputs_and_gradients(norm, sync_process.batch(case, step))
        averages.update()
    averages.settle()
    return dict(zip(("y", "grad x", "grad weight", "grad bias"), found, strict=True)) | dict(norm.named_buffers())


@cases
@momenta
def test_outputs_and_input_gradients_are_those_of_the_joined_batch(processes, case, momentum):
    expected = on_the_joined_batch(case, momentum)
    for name in ("y", "grad x"):
        joined = torch.cat([found[case, momentum][name] for found in processes])
        assert_same([joined], [expected[name]], 1e-11)


@cases
@momenta
def test_gradients_of_scale_and_shift_add_up_to_those_of_the_joined_batch(processes, case, momentum):
    expected = on_the_joined_batch(case, momentum)
    for name in ("grad weight", "grad bias"):
        total = sum(found[case, momentum][name] for found in processes)
        assert_same([total], [expected[name]], 1e-11)


@cases
@momenta
def test_every_process_keeps_the_moments_of_the_joined_batch(processes, case, momentum):
    expected = on_the_joined_batch(case, momentum)
    for name in ("batch_mean", "batch_var", "running_mean", "running_var", "num_batches_tracked"):
        first, second = (found[case, momentum][name] for found in processes)
        assert torch.equal(first, second)
        assert not first.requires_grad
        assert_same([first], [expected[name]], 1e-11)


@cases
def test_raw_moments_are_those_of_the_joined_batch(processes, case):
    values = channels(sync_process.batch(case, sync_process.STEPS - 1))
    for found in processes:
        assert_same(found[case, 0.1]["raw"], [values.mean(1), values.square().mean(1)], 1e-11)


def test_eval_mode_does_without_the_other_process(processes):
    norm = with_random_state(BatchNorm(sync_process.CHANNELS)).eval()
    assert torch.equal(processes[0]["eval"], norm(sync_process.batch(("unequal", "images"))))


def test_a_mean_far_from_zero_costs_no_more_digits_than_float32_has(processes):
    joined = (sample((400, sync_process.CHANNELS), seed=5) / 3 + 1000).float()
    var, mean = torch.var_mean(joined.double(), 0)
    for found in processes:
        # The difference of E[x^2] = 10^6 and its like would be right to 0.06.
        torch.testing.assert_close(found["float32"]["var"].double(), var, rtol=1e-4, atol=0)
    y = torch.cat([found["float32"]["y"] for found in processes]).double()
    torch.testing.assert_close(y, (joined.double() - mean) / (var * 399 / 400 + 1e-5).sqrt(), rtol=0, atol=5e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_without_other_processes_it_is_batch_norm_bit_for_bit(shape):
    sync, batch = with_random_state(SyncBatchNorm(3)), with_random_state(BatchNorm(3))
    x = sample(shape)
    found, expected = outputs_and_gradients(sync, x), outputs_and_gradients(batch, x)
    found += [*sync.buffers(), sync.raw_moments(8), sync.eval()(x)]
    expected += [*batch.buffers(), batch.raw_moments(8), batch.eval()(x)]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_in_a_group_of_one_process_it_is_batch_norm_bit_for_bit(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        found = outputs_and_gradients(with_random_state(SyncBatchNorm(3)), sample((8, 3)))
    finally:
        dist.destroy_process_group()
    expected = outputs_and_gradients(with_random_state(BatchNorm(3)), sample((8, 3)))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_gradients_are_right_in_one_process():
    assert gradients_are_right(with_random_state(SyncBatchNorm(3)), sample((5, 3, 2)))


def test_a_batch_of_one_value_per_channel_is_refused_in_one_process():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        SyncBatchNorm(3)(torch.zeros(1, 3))


def test_a_joined_batch_of_one_value_per_channel_is_refused_in_every_process(processes):
    for found in processes:
        assert len(found["one value"]) == 3
        assert all("more than 1 value per channel" in message for message in found["one value"])
