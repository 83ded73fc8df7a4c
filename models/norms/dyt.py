"""A squashing function in the place of a norm."""

import torch
from torch import Tensor, nn

from models.norms.base import AffineNorm, widened


class DyT(AffineNorm):
    """Dynamic tanh: weight * tanh(alpha * x) + bias. x: (N, C) or (N, C, *).

    Zhu et al. 2025 (arXiv 2503.10622), equation 2 and algorithm 1. One `alpha` is learned for the whole layer.
    """

    def __init__(self, features: int, *, alpha: float = 0.5) -> None:
        super().__init__(features)
        self.alpha = nn.Parameter(torch.tensor(float(alpha)))

    def forward(self, x: Tensor) -> Tensor:
        return self.scaled((self.alpha * widened(x)).tanh()).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.features}"
