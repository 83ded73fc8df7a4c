"""What holds for any batch norm in train mode, whatever its input (science.md section 7, item 2)."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.norms.batch import BatchNorm

TINY_EPS = 1e-12


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(3)


def over_channels(x: Tensor) -> Tensor:
    return x.movedim(1, 0).flatten(1)


def loss_of(y: Tensor) -> Tensor:
    """Some smooth loss that treats every value differently."""
    weights = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)
    return (weights * (y + 0.3 * y**2).tanh()).sum()


@pytest.mark.parametrize("shape", [(50, 4), (10, 4, 6), (5, 4, 3, 7)], ids=str)
@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.1, 10.0])
def test_output_has_mean_zero_and_variance_reduced_by_eps(shape, eps):
    x = torch.randn(shape, dtype=torch.float64) * 1.7 - 40
    y = over_channels(BatchNorm(4, eps=eps).double()(x))
    variance = over_channels(x).var(1, correction=0)
    torch.testing.assert_close(y.mean(1), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(y.var(1, correction=0), variance / (variance + eps), rtol=1e-10, atol=0)


@pytest.mark.parametrize("shape", [(20, 3), (6, 3, 4, 5)], ids=str)
def test_input_gradients_of_a_channel_sum_to_zero(shape):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    loss_of(BatchNorm(3).double()(x)).backward()
    gradient = over_channels(x.grad)
    assert gradient.abs().max() > 1e-3
    torch.testing.assert_close(gradient.sum(1), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)


def test_input_gradients_are_orthogonal_to_the_normalized_input_as_eps_vanishes():
    x = torch.randn(30, 3, dtype=torch.float64, requires_grad=True)
    y = BatchNorm(3, eps=TINY_EPS).double()(x)
    loss_of(y).backward()
    assert (x.grad * y).sum(0).abs().max() < 1e-9 * x.grad.abs().max()


def test_a_bias_before_the_norm_has_no_gradient_and_no_effect():
    linear, norm = nn.Linear(6, 4).double(), BatchNorm(4).double()
    u = torch.randn(25, 6, dtype=torch.float64)
    y = norm(linear(u))
    loss_of(y).backward()
    assert linear.weight.grad.abs().max() > 1e-2
    torch.testing.assert_close(linear.bias.grad, torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(norm(F.linear(u, linear.weight)), y, rtol=1e-10, atol=1e-12)


def normalized(weight: Tensor, u: Tensor) -> Tensor:
    return BatchNorm(len(weight), eps=TINY_EPS).double()(F.linear(u, weight))


@pytest.mark.parametrize("a", [0.01, 0.5, 7.0, 300.0])
def test_scaled_weights_give_the_same_output_and_the_inverse_gradient(a):
    u = torch.randn(40, 6, dtype=torch.float64)
    weight = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    scaled = (a * weight).detach().requires_grad_()
    y, y_scaled = normalized(weight, u), normalized(scaled, u)
    torch.testing.assert_close(y_scaled, y, rtol=5e-7, atol=1e-8)
    loss_of(y).backward()
    loss_of(y_scaled).backward()
    torch.testing.assert_close(a * scaled.grad, weight.grad, rtol=5e-7, atol=1e-7)


def test_the_gradient_of_a_filter_is_orthogonal_to_the_filter():
    u = torch.randn(40, 6, dtype=torch.float64)
    weight = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    loss_of(normalized(weight, u)).backward()
    cosine = F.cosine_similarity(weight.detach(), weight.grad, dim=1)
    assert weight.grad.norm(dim=1).min() > 1e-2
    assert cosine.abs().max() < 1e-9


def test_eval_mode_normalizes_by_the_stored_averages_alone():
    norm = BatchNorm(3).double().eval()
    with torch.no_grad():
        norm.running_mean.copy_(torch.tensor([1.0, -2.0, 0.5]))
        norm.running_var.copy_(torch.tensor([4.0, 0.25, 1.0]))
    x = torch.randn(5, 3, dtype=torch.float64)
    expected = (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    torch.testing.assert_close(norm(x), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(norm(x[:1]), expected[:1], rtol=1e-12, atol=1e-12)
