"""Norm and activation evolved as one layer, by the variance of groups or of the batch."""

import torch
from torch import Tensor, nn

from models.norms.base import AffineNorm, Normalization, RunningNorm, channel_moments, per_channel, widened
from models.norms.group import group_moments, mean_of_samples


class Scaled(AffineNorm):
    """Scale and shift alone: what an evolved norm is where no activation follows. x: (N, C) or (N, C, *)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.scaled(widened(x)).to(x.dtype)


class EvoNormS0(AffineNorm):
    """x * sigmoid(v * x) by the deviation of each group of channels of each sample. x: (N, C) or (N, C, *).

    Liu et al. 2020 (arXiv 2004.02967). `v` belongs to channels and begins at 1. Without `activation`
    only scale and shift stay, as in the authors' code; its moments are recorded all the same.

    Raises:
        ValueError: the channels are not divisible by `groups`.
    """

    def __init__(self, features: int, *, groups: int = 32, eps: float = 1e-5, activation: bool = False) -> None:
        super().__init__(features)
        if features % groups:
            raise ValueError(f"{features} channels are not divisible by {groups} groups.")
        self.groups = groups
        self.eps = eps
        self.v = nn.Parameter(torch.ones(features)) if activation else None

    def forward(self, x: Tensor) -> Tensor:
        y = widened(x)
        if self.v is not None:
            _, var = group_moments(y, self.groups)
            gated = y * (per_channel(self.v, y) * y).sigmoid()
            y = (gated.unflatten(1, (self.groups, -1)) * (var + self.eps).rsqrt()).flatten(1, 2)
        return self.scaled(y).to(x.dtype)

    def own_moments(self, x: Tensor) -> dict[str, Tensor]:
        return {"var": mean_of_samples(group_moments(widened(x), self.groups)[1])}

    def extra_repr(self) -> str:
        return f"{self.features}, groups={self.groups}, eps={self.eps}, activation={self.v is not None}"


class EvoNormB0(RunningNorm):
    """x by the larger of its batch deviation and v * x + its instance deviation. x: (N, C) or (N, C, *).

    Liu et al. 2020 (arXiv 2004.02967). `v` belongs to channels and begins at 1. Both variances are the
    biased ones; the running average keeps the unbiased variance of the batch, as batch norm's does, and eval mode
    puts it in the place of the batch's. Without positions the instance variance is 0.
    """

    MOMENTS = ("var",)

    running_var: Tensor
    batch_mean: Tensor
    batch_var: Tensor

    def __init__(self, features: int, *, momentum: float | None = 0.1, eps: float = 1e-5) -> None:
        super().__init__(features, momentum=momentum, eps=eps, affine=True)
        self.v = nn.Parameter(torch.ones(features))
        # Kept of the latest batch alone: variances of batches make no population variance without their means.
        self.register_buffer("batch_mean", torch.zeros(features), persistent=False)

    def normalize_batch(self, x: Tensor) -> Tensor:
        values = x.numel() // self.features
        if values < 2:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {x.shape}")
        wide = widened(x)
        mean, var = channel_moments(wide)
        self.batch_mean.copy_(mean.detach())
        self.batch_var.copy_(var.detach() * (values / (values - 1)))
        return self._evolved(wide, var).to(x.dtype)

    def normalize_stored(self, x: Tensor) -> Tensor:
        return self._evolved(widened(x), self.running_var).to(x.dtype)

    def _evolved(self, x: Tensor, var: Tensor) -> Tensor:
        of_batch = per_channel((var + self.eps).sqrt(), x)
        of_instance = (group_moments(x, self.features)[1].flatten(1, 2) + self.eps).sqrt()
        return self.scaled(x / torch.maximum(of_batch, per_channel(self.v, x) * x + of_instance))

    def own_moments(self, x: Tensor) -> dict[str, Tensor]:
        return {"var": channel_moments(widened(x))[1]}

    def latest_batches(self, values: int) -> tuple[list[int], Tensor]:
        """The batch, with its mean, which is no moment that is averaged."""
        return [values], torch.stack((self.batch_mean, self.batch_var))[:, None]

    def population(self, raw: Tensor, values: int) -> dict[str, Tensor]:
        return {"var": super().population(raw, values)["var"]}


def evonorm_b0(
    features: int, *, momentum: float | None = 0.1, eps: float = 1e-5, activation: bool = False
) -> Normalization:
    """The B0 layer of a site.

    Where no activation follows, only scale and shift stay, as in the authors' code: such a site uses nothing of
    the batch and has no running average to keep, only its channels' moments to show.
    """
    return EvoNormB0(features, momentum=momentum, eps=eps) if activation else Scaled(features)
