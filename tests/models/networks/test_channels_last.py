"""Every network with every norm in the channels-last format: the same outputs and gradients, in both modes."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from models.build import build
from models.catalog.names import NormName
from models.catalog.registry import architectures
from models.layers import Attention
from tests.worker.networks import small_network

BATCH = 4
#: Noise is drawn in the order of the values in memory, which is another one in this format.
CASES = [
    (architecture, norm)
    for architecture, info in architectures().items()
    for norm in info.norms
    if norm != NormName.NOISY_BATCH
]


def network_and_images(architecture: str, norm: str) -> tuple[nn.Module, Tensor]:
    """A network without dropout in float64, whose rounding is no matter, and images for it."""
    torch.manual_seed(3)
    blueprint = small_network(architecture, norm).blueprint()
    module = build(blueprint).double()
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
        elif isinstance(layer, Attention):
            layer.dropout = 0.0
    return module, torch.randn(BATCH, *blueprint.input_shape, dtype=torch.float64)


def outputs_and_gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Outputs, then the gradients of some loss by the input and by every parameter."""
    torch.manual_seed(4)  # of what the state of a recurrent layer begins with
    x.requires_grad_()
    y = module(x)
    (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
    return [y.detach(), x.grad, *(parameter.grad for parameter in module.parameters())]


@pytest.mark.parametrize("training", [True, False], ids=["train mode", "eval mode"])
@pytest.mark.parametrize(("architecture", "norm"), CASES)
def test_channels_last_gives_the_same_outputs_and_gradients(architecture, norm, training):
    module, x = network_and_images(architecture, norm)
    other = deepcopy(module).to(memory_format=torch.channels_last)
    expected = outputs_and_gradients(module.train(training), x.clone())
    images = x.clone(memory_format=torch.channels_last)
    assert not images.is_contiguous()
    found = outputs_and_gradients(other.train(training), images)
    for one, same in zip(found, expected, strict=True):
        torch.testing.assert_close(one, same, rtol=1e-7, atol=1e-9 * max(1.0, float(same.abs().max())))
