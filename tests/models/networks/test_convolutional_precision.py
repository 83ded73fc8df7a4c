"""The networks of images in the channels-last format and under bfloat16 autocast."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from models.blueprint import NormChoice
from models.build import build
from models.norms.running import RunningAverages
from tests.models.networks.support import FAMILIES, LISTED, NORMS, Network, outputs_by_name

families = pytest.mark.parametrize("network", [*FAMILIES.values(), *LISTED.values()], ids=[*FAMILIES, *LISTED])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(5)


def settled(network: Network, norm: str = "batch") -> tuple[nn.Module, Tensor]:
    """A network whose running averages are those of a batch, and the batch: eval mode has moderate values."""
    choice = NormChoice(name="batch", options=(("momentum", 1.0),)) if norm == "batch" else NORMS[norm]
    blueprint = network(norm=choice)
    module, x = build(blueprint), torch.randn(8, *blueprint.input_shape)
    averages = RunningAverages(module.modules())
    with torch.no_grad():
        module(x)
    averages.update()
    return module, x


def distance(y: Tensor, expected: Tensor) -> float:
    """How far outputs are from others, relative to how much those differ between samples."""
    return float((y.float() - expected).norm() / (expected - expected.mean(0)).norm())


@families
@pytest.mark.parametrize("norm", ["batch", "group", "evonorm_s0"])
def test_channels_last_gives_the_same_outputs_up_to_rounding(network, norm):
    module, x = settled(network, norm)
    module.eval()
    expected = module(x).detach()
    module.to(memory_format=torch.channels_last)
    convolutions = [name for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)]
    found = outputs_by_name(module, [*convolutions, "output"], x.to(memory_format=torch.channels_last))
    assert distance(found["output"], expected) < 1e-4
    # The format lives to the last convolution.
    assert all(found[name].is_contiguous(memory_format=torch.channels_last) for name in convolutions)


def gradient(module: nn.Module, x: Tensor) -> Tensor:
    """Of some loss in train mode, by all parameters, as one vector."""
    torch.manual_seed(7)
    y = module.train()(x)
    (y * torch.linspace(-1, 2, y.numel()).view_as(y)).sum().backward()
    return torch.cat([parameter.grad.flatten() for parameter in module.parameters()])


@families
@pytest.mark.parametrize("norm", ["batch", "group", "evonorm_s0"])
def test_channels_last_gives_the_same_gradients_in_train_mode_up_to_rounding(network, norm):
    module, x = settled(network, norm)
    other = deepcopy(module).to(memory_format=torch.channels_last)
    expected = gradient(module, x)
    found = gradient(other, x.to(memory_format=torch.channels_last))
    # 1e-6 to 2e-2 over four seeds of each: near 0, or of two equal values in a pool, rounding decides otherwise.
    assert (found - expected).norm() < 0.05 * expected.norm()


def rounded(module: nn.Module) -> nn.Module:
    """A copy whose parameters are rounded to bfloat16 and kept in float32."""
    copy = deepcopy(module)
    for parameter in copy.parameters():
        parameter.data = parameter.data.bfloat16().float()
    return copy


@families
@pytest.mark.parametrize("training", [False, True], ids=["eval mode", "train mode"])
@pytest.mark.parametrize("norm", ["batch", "group", "evonorm_s0"])
def test_bfloat16_autocast_changes_outputs_no_more_than_rounding_does(network, training, norm):
    module, x = settled(network, norm)
    module.train(training)
    with torch.no_grad():
        expected = module(x)
        # What the rounding of inputs and weights alone does, with all arithmetic in float32. Over eight seeds of
        # each of these networks autocast did 1.1 to 2.5 times as much.
        lost = distance(rounded(module)(x.bfloat16().float()), expected)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = module(x)
    assert y.dtype is torch.bfloat16
    assert 1e-3 < lost < 0.25
    assert 0 < distance(y, expected) < 5 * lost
