"""RunningAverages against the running statistics that stock batch norms keep by themselves."""

import pytest
import torch
from torch import nn

from models.norms.batch import BatchNorm
from models.norms.running import RunningAverages

RELATIVE = {torch.float32: 1e-6, torch.float64: 1e-12}
STEPS = 250
MOMENTA = [0.001, 0.1, 0.5, 1.0]


def batches(shape, dtype):
    """Random batches whose scale and mean drift, so that every batch moves the averages."""
    generator = torch.Generator().manual_seed(1)
    for step in range(STEPS):
        x = torch.randn(shape, generator=generator, dtype=dtype)
        yield x * (1 + step / STEPS) + 2 + torch.arange(shape[1], dtype=dtype).view(-1, *[1] * (len(shape) - 2))


def assert_same_buffers(ours: nn.Module, stock: nn.Module, relative: float) -> None:
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(ours, name), getattr(stock, name), rtol=relative, atol=0)
    assert ours.num_batches_tracked.item() == stock.num_batches_tracked.item()


@pytest.mark.parametrize("dtype", list(RELATIVE), ids=str)
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
@pytest.mark.parametrize("momentum", MOMENTA)
def test_running_averages_equal_stock_batch_norm_over_many_steps(momentum, affine, dtype):
    ours = BatchNorm(5, momentum=momentum, affine=affine).to(dtype)
    stock = nn.BatchNorm1d(5, momentum=momentum, affine=affine).to(dtype)
    averages = RunningAverages([ours])
    for x in batches((16, 5), dtype):
        ours(x)
        stock(x)
        averages.update()
    averages.settle()
    assert_same_buffers(ours, stock, RELATIVE[dtype])
    assert ours.num_batches_tracked.item() == STEPS


def test_norms_of_different_momenta_and_sizes_move_together():
    momenta = {3: 0.001, 4: 1.0, 5: 0.1, 6: 0.1}
    ours = nn.ModuleList(BatchNorm(c, momentum=m) for c, m in momenta.items()).double()
    stock = nn.ModuleList(nn.BatchNorm1d(c, momentum=m) for c, m in momenta.items()).double()
    averages = RunningAverages(ours.modules())
    assert set(averages.norms) == set(ours)
    for several in zip(*(batches((12, c), torch.float64) for c in momenta), strict=True):
        for one, other, x in zip(ours, stock, several, strict=True):
            one(x)
            other(x)
        averages.update()
    averages.settle()
    for one, other in zip(ours, stock, strict=True):
        assert_same_buffers(one, other, 1e-12)


def test_images_move_the_averages_as_stock_batch_norm_2d_does():
    ours, stock = BatchNorm(3).double(), nn.BatchNorm2d(3).double()
    averages = RunningAverages([ours])
    for x in batches((4, 3, 5, 2), torch.float64):
        ours(x)
        stock(x)
        averages.update()
    averages.settle()
    assert_same_buffers(ours, stock, 1e-12)


def test_settling_in_between_or_twice_does_not_change_the_count():
    norm = BatchNorm(2)
    averages = RunningAverages([norm])
    for step in range(1, 8):
        norm(torch.randn(4, 2))
        averages.update()
        if step % 3 == 0:
            averages.settle()
    averages.settle()
    averages.settle()
    assert norm.num_batches_tracked.item() == 7


def test_a_forward_pass_between_updates_does_not_count_as_a_batch():
    norm, other = BatchNorm(2), BatchNorm(2)
    averages, others = RunningAverages([norm]), RunningAverages([other])
    x = torch.randn(8, 2)
    norm(torch.randn(8, 2) * 100)  # an evaluation with batch statistics, say
    norm(x)
    other(x)
    averages.update()
    others.update()
    assert torch.equal(norm.running_mean, other.running_mean)
    assert torch.equal(norm.running_var, other.running_var)


def test_a_model_without_batch_norms_has_nothing_to_move():
    averages = RunningAverages(nn.Sequential(nn.Linear(2, 2), nn.Identity()).modules())
    averages.update()
    averages.settle()
    assert averages.norms == []
