"""Batch normalization that divides by a mean absolute, quadratic or largest value."""

from collections.abc import Mapping
from math import inf, pi, sqrt
from typing import Literal

import torch
from torch import Tensor

from models.norms.base import RunningNorm, per_channel, widened


class LpBatchNorm(RunningNorm):
    """Subtract each channel's mean over the batch, divide by a p-norm. x: (N, C) or (N, C, *).

    y = weight * (x - mean) / (scale + eps) + bias with scale = E(|x|^p)^(1/p) over the batch, for p "inf" the
    largest |x|: Santurkar et al. 2018 (arXiv 1805.11604), section 3.3, who take the scale before the mean is
    subtracted. With `centered` it is taken of x - mean; for p = 1 then times sqrt(pi / 2), which makes it the
    standard deviation of normally distributed values: Hoffer et al. 2018 (arXiv 1803.01814), section 4.1.
    """

    MOMENTS = ("mean", "scale")

    running_mean: Tensor
    running_scale: Tensor
    batch_mean: Tensor
    batch_scale: Tensor

    def __init__(
        self,
        features: int,
        *,
        p: Literal[1, 2, "inf"] = 1,
        centered: bool = False,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
    ) -> None:
        super().__init__(features, momentum=momentum, eps=eps, affine=affine)
        self.p = float(p)
        self.centered = centered
        self.factor = sqrt(pi / 2) if p == 1 and centered else 1.0

    def normalize_batch(self, x: Tensor) -> Tensor:
        """Train mode; fills the scratch buffers.

        Raises:
            ValueError: one value per channel, which has no scale of its own.
        """
        values = x.numel() // x.shape[1]
        if values < 2:
            raise ValueError(f"Expected more than 1 value per channel in train mode, got input size {x.shape}")
        wide, but_channels = widened(x), [0, *range(2, x.dim())]
        mean = wide.mean(but_channels)
        centred = wide - per_channel(mean, x)
        # Unlike a root of its own, this has a gradient (of 0) where a channel is 0 all over.
        length = torch.linalg.vector_norm(centred if self.centered else wide, self.p, but_channels)
        scale = length * (self.factor / values ** (1 / self.p))
        with torch.no_grad():
            self.batch_mean.copy_(mean)
            self.batch_scale.copy_(scale)
        return self.scaled(centred / per_channel(scale + self.eps, x)).to(x.dtype)

    def normalize_stored(self, x: Tensor) -> Tensor:
        centred = widened(x) - per_channel(self.running_mean, x)
        return self.scaled(centred / per_channel(self.running_scale + self.eps, x)).to(x.dtype)

    def variance(self, moments: Mapping[str, Tensor]) -> Tensor | None:
        """Only of p = 2; other scales depend on the shape of the distribution too."""
        if self.p != 2:
            return None
        square = moments["scale"].square()
        return square if self.centered else (square - moments["mean"].square()).clamp_min(0)

    def raw_moments(self, values: int) -> Tensor:
        """Mean and scale^p. For p "inf" the population's scale is the mean of the batches' largest values."""
        return torch.stack((self.batch_mean.double(), self.batch_scale.double() ** self._power()))

    def population(self, raw: Tensor, values: int) -> dict[str, Tensor]:
        mean, power = raw
        return {"mean": mean, "scale": power ** (1 / self._power())}

    def _power(self) -> float:
        return 1.0 if self.p == inf else self.p

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, p={self.p:g}, centered={self.centered}"
