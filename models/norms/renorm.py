"""Batch renormalization: batch normalization corrected towards the running averages."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from models.norms.base import RunningNorm, channel_moments, widened


class BatchRenorm(RunningNorm):
    """Normalize over the batch, then correct towards the running averages. x: (N, C) or (N, C, *).

    Ioffe 2017 (arXiv 1702.03275), algorithm 1: y = weight * ((x - mean_B) / sigma_B * r + d) + bias with
    r = clip(sigma_B / sigma, 1 / r_max, r_max) and d = clip((mean_B - mean) / sigma, -d_max, d_max), where
    sigma_B = sqrt(biased variance + eps), `mean` and `sigma` are the running averages before this batch, and no
    gradient flows through r and d. Where nothing is clipped, train mode and eval mode are the same function.
    What is averaged is sigma, as the paper has it, not its square.

    The limits grow as in section 4 of the paper, along straight lines: r_max from 1 and d_max from 0, between
    `..._begin` and `..._end` updates of the running averages. Until then it is batch normalization.
    """

    MOMENTS = ("mean", "std")
    follows_updates = True

    running_mean: Tensor
    running_std: Tensor
    batch_mean: Tensor
    batch_std: Tensor

    def __init__(
        self,
        features: int,
        *,
        momentum: float | None = 0.01,
        eps: float = 1e-3,
        affine: bool = True,
        r_max: float = 3.0,
        d_max: float = 5.0,
        r_begin: int = 5_000,
        r_end: int = 40_000,
        d_begin: int = 5_000,
        d_end: int = 25_000,
    ) -> None:
        super().__init__(features, momentum=momentum, eps=eps, affine=affine)
        self.r_max = r_max
        self.d_max = d_max
        self.r_ramp = (r_begin, r_end)
        self.d_ramp = (d_begin, d_end)

    def limits(self) -> tuple[float, float]:
        """The largest r and d of the next batch."""
        return 1 + (self.r_max - 1) * _share(self.seen, self.r_ramp), self.d_max * _share(self.seen, self.d_ramp)

    def normalize_batch(self, x: Tensor) -> Tensor:
        r, d = self._correct(x)
        # The kernel's scale and shift take r and d along, so that nothing passes over x a second time.
        if self.weight is not None and self.bias is not None:
            r, d = self.weight * r, self.weight * d + self.bias
        return F.batch_norm(x, None, None, r, d, True, 0.0, self.eps)

    @torch.no_grad()
    def _correct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Fill the scratch buffers; r and d, (C,) each."""
        mean, var = channel_moments(widened(x))
        self.batch_mean.copy_(mean)
        self.batch_std.copy_((var + self.eps).sqrt())
        r_max, d_max = self.limits() if self.corrects else (1.0, 0.0)
        r = (self.batch_std / self.running_std).clamp(1 / r_max, r_max)
        d = ((self.batch_mean - self.running_mean) / self.running_std).clamp(-d_max, d_max)
        return r, d

    def normalize_stored(self, x: Tensor) -> Tensor:
        var = self.running_std.square()
        return F.batch_norm(x, self.running_mean, var, self.weight, self.bias, False, 0.0, 0.0)

    @torch.no_grad()
    def look(self, x: Tensor) -> None:
        self._correct(x)

    def variance(self, moments: Mapping[str, Tensor]) -> Tensor:
        return (moments["std"].square() - self.eps).clamp_min(0)

    def raw_moments(self, values: int) -> Tensor:
        mean, std = self.batch_mean.double(), self.batch_std.double()
        return torch.stack((mean, mean.square() + std.square() - self.eps))

    def population(self, raw: Tensor, values: int) -> dict[str, Tensor]:
        mean, square = raw
        return {"mean": mean, "std": ((square - mean.square()).clamp_min(0) + self.eps).sqrt()}

    def extra_repr(self) -> str:
        ramps = f"r_max={self.r_max} over {self.r_ramp}, d_max={self.d_max} over {self.d_ramp}"
        return f"{super().extra_repr()}, {ramps}"


def _share(seen: int, ramp: tuple[int, int]) -> float:
    """How far along its ramp a limit is, from 0 to 1. seen, ramp: updates."""
    begin, end = ramp
    if seen >= end:
        return 1.0
    return max(0.0, (seen - begin) / (end - begin)) if end > begin else 0.0
