"""What the tests of several norms do alike."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

#: (N, C), (N, C, L) and (N, C, H, W), with eight samples of three channels.
SHAPES = [(8, 3), (8, 3, 5), (8, 3, 4, 2)]


def sample(shape: Sequence[int], seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Values around 2 with standard deviation 3, each channel a little higher than the one before."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64) * 3 + 2
    return (x + torch.arange(shape[1]).view(-1, *[1] * (len(shape) - 2))).to(dtype)


def loss_of(y: Tensor) -> Tensor:
    """Some smooth loss to which every value matters differently; summed, not averaged."""
    weights = torch.linspace(-1, 2, y.numel(), dtype=torch.float64).view(y.shape)
    return (weights * (y.double() + 0.3 * y.double() ** 2).tanh()).sum()


def outputs_and_gradients(norm: nn.Module, x: Tensor) -> list[Tensor]:
    """The output, and the gradients of input and parameters."""
    x = x.clone().requires_grad_()
    norm.zero_grad()
    y = norm(x)
    loss_of(y).backward()
    return [y.detach(), x.grad, *(parameter.grad for parameter in norm.parameters())]


def assert_same(found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float = 1e-10) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def with_random_state(norm: nn.Module) -> nn.Module:
    """In float64, with parameters and running buffers that are not the first ones."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.normal_(generator=generator)
        for name, buffer in norm.named_buffers():
            if name.startswith("running_"):
                buffer.uniform_(0.5, 2.0, generator=generator)
    return norm.double()


def gradients_are_right(norm: nn.Module, x: Tensor) -> bool:
    """Whether input and parameters have the gradients that finite differences give."""
    names = [name for name, _ in norm.named_parameters()]

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        torch.manual_seed(1)  # the same noise each time
        return torch.func.functional_call(norm, dict(zip(names, parameters, strict=True)), (x,))

    return torch.autograd.gradcheck(run, (x.clone().requires_grad_(), *norm.parameters()))


def channels(x: Tensor) -> Tensor:
    """(C, values) in float64."""
    return x.double().movedim(1, 0).flatten(1)
