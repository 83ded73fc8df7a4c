"""Dynamic tanh against its formula."""

import pytest
import torch

from models.norms.dyt import DyT
from tests.models.norms.support import CHANNELS, SHAPES, draw, outputs_and_gradients, randomized


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["train mode", "eval mode"])
def test_each_channel_is_scaled_and_shifted_after_one_common_tanh(shape, training):
    norm, x = randomized(DyT(CHANNELS)).train(training), draw(shape)
    for channel, (weight, bias) in enumerate(zip(norm.weight, norm.bias, strict=True)):
        expected = weight * torch.tanh(norm.alpha * x[:, channel]) + bias
        torch.testing.assert_close(norm(x)[:, channel], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.5, 0.1, 2])
def test_it_begins_as_the_tanh_of_alpha_times_the_input(alpha):
    norm = DyT(CHANNELS, alpha=alpha)
    x = draw((4, CHANNELS), torch.float32)
    assert torch.equal(norm(x), (torch.tensor(float(alpha)) * x).tanh())
    assert {name: tuple(p.shape) for name, p in norm.named_parameters()} == {
        "weight": (CHANNELS,),
        "bias": (CHANNELS,),
        "alpha": (),
    }


def test_alpha_begins_at_one_half_and_learns_from_every_channel():
    norm = DyT(CHANNELS)
    assert norm.alpha.item() == 0.5
    x = draw((4, CHANNELS)).requires_grad_()
    norm.double()(x).sum().backward()
    slope = 1 - (0.5 * x.detach()).tanh().square()
    torch.testing.assert_close(norm.alpha.grad, (slope * x.detach()).sum(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(x.grad, 0.5 * slope, rtol=1e-12, atol=1e-12)


def test_no_statistics_are_computed_and_every_value_stands_alone():
    norm, x = randomized(DyT(CHANNELS)), draw((4, CHANNELS, 3))
    y, gradient, *_ = outputs_and_gradients(norm, x)
    changed = x.clone()
    changed[0, 0, 0] += 5
    other = norm(changed)
    assert other[0, 0, 0] != y[0, 0, 0]
    other[0, 0, 0] = y[0, 0, 0]
    assert torch.equal(other, y)
    assert list(norm.buffers()) == []
    assert gradient.abs().max() > 1e-3
