"""The layer of the norm `mean_only_batch`; with torch, so only workers import it."""

import torch
from torch import Tensor, nn

from models.norms.base import RunningNorm, per_channel, widened


class MeanOnlyBatchNorm(RunningNorm):
    """Subtract each channel's mean over the batch and add a learned shift. x: (N, C) or (N, C, *).

    Salimans & Kingma 2016 (arXiv 1602.07868), section 4; eval mode subtracts the running average.
    """

    MOMENTS = ("mean",)

    running_mean: Tensor
    batch_mean: Tensor

    def __init__(self, features: int, *, momentum: float | None = 0.1) -> None:
        super().__init__(features, momentum=momentum, eps=0.0, affine=False)
        self.bias = nn.Parameter(torch.zeros(features))

    def normalize_batch(self, x: Tensor) -> Tensor:
        """Train mode; fills the scratch buffer.

        Raises:
            ValueError: one value per channel, of which nothing would be left.
        """
        if x.numel() == self.features:
            raise ValueError(f"Expected more than 1 value per channel in train mode, got input size {x.shape}")
        mean = widened(x).mean([0, *range(2, x.dim())])
        self.batch_mean.copy_(mean.detach())
        return self._shifted(x, mean)

    def normalize_stored(self, x: Tensor) -> Tensor:
        return self._shifted(x, self.running_mean)

    def _shifted(self, x: Tensor, mean: Tensor) -> Tensor:
        return self.scaled(widened(x) - per_channel(mean, x)).to(x.dtype)

    def own_moments(self, x: Tensor) -> dict[str, Tensor]:
        return {"mean": widened(x).mean([0, *range(2, x.dim())])}

    def raw_moments(self, values: int) -> Tensor:
        return self.batch_mean.double()[None]

    def population(self, raw: Tensor, values: int) -> dict[str, Tensor]:
        return {"mean": raw[0]}

    def extra_repr(self) -> str:
        return f"{self.features}, momentum={self.momentum}"
