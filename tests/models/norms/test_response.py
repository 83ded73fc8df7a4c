"""Local and filter response normalization against their formulas, value by value."""

import pytest
import torch
from torch import Tensor

from models.norms.response import FilterResponseNorm, LocalResponseNorm
from tests.models.norms.support import CHANNELS, MAPS, SHAPES, VECTORS, draw, randomized


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def local_response(x: Tensor, *, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Channel by channel; an even size has one more neighbour before the channel than after it."""
    y = torch.empty_like(x)
    for channel in range(x.shape[1]):
        first, last = max(0, channel - size // 2), channel + (size - 1) // 2
        energy = x[:, first : last + 1].square().sum(1)
        y[:, channel] = x[:, channel] / (k + alpha / size * energy) ** beta
    return y


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 10, 11, 12, 65_536])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_local_response_divides_by_the_energy_of_the_channels_beside_each(shape, size):
    options = {"size": size, "alpha": 3.0, "beta": 0.6, "k": 1.5}
    close(LocalResponseNorm(CHANNELS, **options)(draw(shape)), local_response(draw(shape), **options))


def test_local_response_has_the_defaults_of_torch():
    expected = local_response(draw(MAPS), size=5, alpha=1e-4, beta=0.75, k=1.0)
    close(LocalResponseNorm(CHANNELS)(draw(MAPS)), expected)


def test_local_response_with_alpha_zero_and_k_one_is_the_identity():
    assert torch.equal(LocalResponseNorm(CHANNELS, alpha=0.0)(draw(MAPS)), draw(MAPS))


def filter_response(x: Tensor, norm: FilterResponseNorm) -> Tensor:
    """Channel by channel and sample by sample, with the threshold if there is one."""
    y = torch.empty_like(x)
    for sample in range(x.shape[0]):
        for channel in range(x.shape[1]):
            values = x[sample, channel]
            root = (values.square().sum() / values.numel() + norm.eps).sqrt()
            y[sample, channel] = norm.weight[channel] * values / root + norm.bias[channel]
            if norm.threshold is not None:
                y[sample, channel].clamp_(min=norm.threshold[channel].item())
    return y


@pytest.mark.parametrize("activation", [True, False])
@pytest.mark.parametrize("eps", [1e-6, 0.3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@torch.no_grad()
def test_filter_response_divides_each_channel_of_each_sample_by_its_root_mean_square(shape, eps, activation):
    norm = randomized(FilterResponseNorm(CHANNELS, eps=eps, activation=activation))
    close(norm(draw(shape)), filter_response(draw(shape), norm))


def test_fused_filter_response_begins_as_its_norm_followed_by_relu():
    fused, norm = (FilterResponseNorm(CHANNELS, activation=on).double() for on in (True, False))
    y = norm(draw(MAPS))
    assert 0.2 < (y < 0).double().mean() < 0.8
    assert torch.equal(fused(draw(MAPS)), y.relu())


def test_the_threshold_learns_from_the_values_below_it_and_the_input_from_those_above():
    norm = randomized(FilterResponseNorm(CHANNELS, activation=True))
    with torch.no_grad():
        norm.threshold.fill_(0.3)
    x = draw(MAPS).requires_grad_()
    y = norm(x)
    below = y == 0.3
    y.sum().backward()
    assert 0 < below[:, 0].sum() < below[:, 0].numel()
    close(norm.threshold.grad, below.sum((0, 2, 3)).double())
    close(norm.bias.grad, (~below).sum((0, 2, 3)).double())


def test_filter_response_keeps_a_scaled_input_and_does_not_subtract():
    norm = FilterResponseNorm(CHANNELS, eps=1e-12).double()
    torch.testing.assert_close(norm(50 * draw(MAPS)), norm(draw(MAPS)), rtol=1e-10, atol=1e-10)
    y = norm(draw(MAPS) + 10)
    close(y.square().mean((2, 3)), torch.ones(MAPS[:2], dtype=torch.float64))
    assert y.mean((2, 3)).min() > 0.9


@pytest.mark.parametrize("shape", [VECTORS, (*VECTORS, 1, 1)], ids=str)
def test_filter_response_of_single_values_leaves_little_but_the_sign(shape):
    y = FilterResponseNorm(CHANNELS).double()(draw(shape))
    torch.testing.assert_close(y, draw(shape).sign(), rtol=0, atol=1e-3)
