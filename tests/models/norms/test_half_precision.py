"""In half precision statistics stay in float32, and the output has the type of the input."""

import pytest
import torch
from torch import nn

from models.norms.batch import BatchNorm, FrozenBatchNorm, StepBatchNorm, UntrackedBatchNorm
from models.norms.ghost import GhostBatchNorm
from models.norms.lp import LpBatchNorm
from models.norms.noisy import NoisyBatchNorm
from models.norms.renorm import BatchRenorm
from models.norms.sync import SyncBatchNorm
from tests.models.norms.checks import loss_of, sample

LAYERS = {
    "batch": BatchNorm,
    "sync": SyncBatchNorm,
    "ghost": lambda features: GhostBatchNorm(features, size=1000),
    "renorm": lambda features: BatchRenorm(features, r_begin=0, r_end=0, d_begin=0, d_end=0),
    "noisy": lambda features: NoisyBatchNorm(features, n_mu=0, n_sigma=1, r_mu=0, r_sigma=0),
    "lp 1": LpBatchNorm,
    "lp 2": lambda features: LpBatchNorm(features, p=2, centered=True),
    "lp inf": lambda features: LpBatchNorm(features, p="inf"),
    "step": lambda features: StepBatchNorm(features, steps=1, gamma=1.0),
    "untracked": UntrackedBatchNorm,
    "frozen": FrozenBatchNorm,
}
layers = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
dtypes = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
trainings = pytest.mark.parametrize("training", [True, False], ids=["train mode", "eval mode"])


def wide_sample(dtype: torch.dtype) -> torch.Tensor:
    """Too many values for a sum in half precision, and too large for a square in float16."""
    return (sample((4000, 3)) * 40 + 300).to(dtype)


def at_scale(norm: nn.Module) -> nn.Module:
    """Stored moments that are near those of the sample."""
    for name, buffer in norm.named_buffers():
        if name.startswith("running_"):
            buffer.fill_({"running_mean": 400, "running_var": 120.0**2}.get(name, 120))
    return norm


@layers
@dtypes
def test_moments_are_those_of_float32(layer, dtype):
    norm, reference = layer(3), layer(3).double()
    x = wide_sample(dtype)
    norm(x)
    reference(x.double())
    found, expected = dict(norm.named_buffers()), dict(reference.named_buffers())
    for name in expected:
        if name.startswith("batch_"):
            assert found[name].dtype is torch.float32
            torch.testing.assert_close(found[name].double(), expected[name], rtol=1e-5, atol=0)


@layers
@dtypes
@trainings
def test_outputs_and_gradients_are_those_of_float64_but_for_rounding(layer, dtype, training):
    norm, reference = (at_scale(layer(3)).train(training) for _ in range(2))
    x = wide_sample(dtype).requires_grad_()
    exact = x.detach().double().requires_grad_()
    y, expected = norm(x), reference.double()(exact)
    assert y.dtype is dtype
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(y.double(), expected, rtol=step, atol=step)
    loss_of(y).backward()
    loss_of(expected).backward()
    assert x.grad.dtype is dtype
    largest = exact.grad.abs().max()
    assert (x.grad.double() - exact.grad).abs().max() < 3 * step * largest
    for one, other in zip(norm.parameters(), reference.parameters(), strict=True):
        assert one.grad.dtype is torch.float32
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=3 * step, atol=1)


@layers
@trainings
def test_under_autocast_a_layer_before_gives_bfloat16_and_the_moments_are_right(layer, training):
    torch.manual_seed(0)
    linear, norm = nn.Linear(20, 3), layer(3).train(training)
    with torch.autocast("cpu", torch.bfloat16):
        x = linear(torch.randn(500, 20) + 3)
        y = norm(x)
    assert x.dtype is y.dtype is torch.bfloat16
    loss_of(y).backward()
    assert linear.weight.grad.abs().max() > 1e-4
    if training and hasattr(norm, "batch_mean"):
        mean = x.double().mean(0)
        torch.testing.assert_close(norm.batch_mean.double().view(3), mean, rtol=1e-5, atol=1e-7)


@layers
@trainings
def test_autocast_leaves_a_norm_of_float32_values_alone(layer, training):
    norm = layer(3).train(training)
    x = sample((64, 3), dtype=torch.float32)
    expected = norm(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = norm(x)
    assert found.dtype is torch.float32
    assert torch.equal(found, expected)


@dtypes
def test_with_noise_the_output_keeps_its_type(dtype):
    torch.manual_seed(0)
    norm = NoisyBatchNorm(3)
    nn.init.zeros_(norm.weight)
    y = norm(wide_sample(dtype))
    assert y.dtype is dtype
    assert y.float().std(0).min() > 0.05
