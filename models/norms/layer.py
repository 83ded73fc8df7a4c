"""Norms of a whole sample: layer norm and root mean square."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from models.norms.base import AffineNorm, widened

#: All channels and positions of a sample together, or the channels of each position by themselves.
Over = Literal["sample", "channels"]


def _dims(over: Over, x: Tensor) -> list[int]:
    """The dimensions that are normalized together."""
    return [1] if over == "channels" else list(range(1, x.dim()))


class LayerNorm(AffineNorm):
    """Each sample by its own mean and variance. x: (N, C) or (N, C, *).

    Ba, Kiros & Hinton 2016 (arXiv 1607.06450), equations 3 and 4. Over the channels of each position it is
    ConvNeXt's (Liu et al. 2022, arXiv 2201.03545). For (N, C) both are `torch.nn.LayerNorm(C)`, by its names.
    Scale and shift belong to channels in either case, so that an image of any size fits.
    """

    def __init__(self, features: int, *, eps: float = 1e-5, affine: bool = True, over: Over = "sample") -> None:
        super().__init__(features, affine=affine)
        self.eps = eps
        self.over = over

    def forward(self, x: Tensor) -> Tensor:
        wide = widened(x)
        weight, bias = self.affine_as(wide)
        if self.over == "sample":
            return F.group_norm(wide, 1, weight, bias, self.eps).to(x.dtype)
        y = F.layer_norm(wide.movedim(1, -1), (self.features,), weight, bias, self.eps)
        return y.movedim(-1, 1).to(x.dtype)

    def own_moments(self, x: Tensor) -> dict[str, Tensor]:
        var, mean = torch.var_mean(widened(x), dim=_dims(self.over, x), correction=0)
        return {"mean": mean.mean().view(1), "var": var.mean().view(1)}

    def extra_repr(self) -> str:
        return f"{self.features}, eps={self.eps}, affine={self.weight is not None}, over={self.over}"


class RMSNorm(AffineNorm):
    """Each sample by its root mean square; nothing is subtracted. x: (N, C) or (N, C, *).

    Zhang & Sennrich 2019 (arXiv 1910.07467), equation 4. For (N, C) it is `torch.nn.RMSNorm(C)`, by its name.
    `eps` None is the smallest step at 1 of the number type that computes: float32 or wider.
    """

    def __init__(
        self, features: int, *, eps: float | None = None, affine: bool = True, over: Over = "sample"
    ) -> None:
        super().__init__(features, affine=affine)
        self.bias = None
        self.eps = eps
        self.over = over

    def forward(self, x: Tensor) -> Tensor:
        wide = widened(x)
        eps = torch.finfo(wide.dtype).eps if self.eps is None else self.eps
        square = wide.square().mean(_dims(self.over, x), keepdim=True)
        return self.scaled(wide * (square + eps).rsqrt()).to(x.dtype)

    def own_moments(self, x: Tensor) -> dict[str, Tensor]:
        return {"scale": widened(x).square().mean(_dims(self.over, x)).sqrt().mean().view(1)}

    def extra_repr(self) -> str:
        return f"{self.features}, eps={self.eps}, affine={self.weight is not None}, over={self.over}"
