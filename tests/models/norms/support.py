"""The norms of single samples and the fused ones, with inputs that they take."""

from collections.abc import Callable

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from db.spec.norms.base import NormPart
from db.spec.norms.union import Norm
from models.norms.base import Normalization
from models.norms.dyt import DyT
from models.norms.evonorm import EvoNormS0, evonorm_b0
from models.norms.group import GroupNorm, InstanceNorm
from models.norms.layer import LayerNorm, RMSNorm
from models.norms.response import FilterResponseNorm, LocalResponseNorm

CHANNELS = 6
VECTORS = (5, CHANNELS)
MAPS = (4, CHANNELS, 3, 5)
SHAPES = [VECTORS, (3, CHANNELS, 7), MAPS]

NORMS: dict[str, Callable[[], Normalization]] = {
    "layer": lambda: LayerNorm(CHANNELS),
    "layer without affine": lambda: LayerNorm(CHANNELS, affine=False),
    "layer over channels": lambda: LayerNorm(CHANNELS, over="channels"),
    "rms": lambda: RMSNorm(CHANNELS),
    "rms over channels": lambda: RMSNorm(CHANNELS, over="channels"),
    "instance": lambda: InstanceNorm(CHANNELS),
    "instance with affine": lambda: InstanceNorm(CHANNELS, affine=True),
    "group": lambda: GroupNorm(CHANNELS, groups=2),
    "local response": lambda: LocalResponseNorm(CHANNELS, size=3, alpha=0.5),
    "filter response": lambda: FilterResponseNorm(CHANNELS),
    "filter response with activation": lambda: FilterResponseNorm(CHANNELS, activation=True),
    "evonorm s0": lambda: EvoNormS0(CHANNELS, groups=2),
    "evonorm s0 with activation": lambda: EvoNormS0(CHANNELS, groups=2, activation=True),
    "evonorm b0": lambda: evonorm_b0(CHANNELS),
    "evonorm b0 with activation": lambda: evonorm_b0(CHANNELS, activation=True),
    "dyt": lambda: DyT(CHANNELS),
}
#: Norm and shape; instance norm has nothing to normalize in vectors.
NORMS_AND_SHAPES = [
    (name, shape) for name in NORMS for shape in SHAPES if not (name.startswith("instance") and shape == VECTORS)
]


PARTS: TypeAdapter[NormPart] = TypeAdapter(Norm)


def spec(name: str, **options: object) -> NormPart:
    """A norm as a job asks for it."""
    return PARTS.validate_python({"name": name, **options})


def randomized(norm: nn.Module, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Parameters and running variances that no two channels share."""
    torch.manual_seed(4)
    norm.to(dtype)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.normal_()
        for name, buffer in norm.named_buffers():
            if name.endswith("var"):
                buffer.uniform_(0.5, 2.0)
    return norm


def draw(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(shape, dtype=dtype) * 2 + 1


def outputs_and_gradients(norm: nn.Module, x: Tensor) -> list[Tensor]:
    """The output and the gradients of input and parameters, for a loss that treats every value differently."""
    x = x.clone().requires_grad_()
    y = norm(x)
    weights = torch.arange(1, y.numel() + 1).view(y.shape) / y.numel()
    (y.sin() * weights.to(y.dtype)).sum().backward()
    return [y.detach(), x.grad, *(parameter.grad for parameter in norm.parameters())]
