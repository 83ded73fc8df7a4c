"""Norms of groups of the channels of each sample."""

import torch
from torch import Tensor
from torch.nn import functional as F

from models.norms.base import AffineNorm, widened


def group_moments(x: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each group of channels of each sample, over its channels and positions.

    x: (N, C) or (N, C, *), C divisible by `groups`. Returns (N, groups, 1, 1, ...): as many dimensions as
    `x.unflatten(1, (groups, -1))`, which stays a view of x in every memory format.
    """
    parts = x.unflatten(1, (groups, -1))
    var, mean = torch.var_mean(parts, dim=list(range(2, parts.dim())), correction=0, keepdim=True)
    return mean, var


def mean_of_samples(moment: Tensor) -> Tensor:
    """(N, groups, 1, ...), from `group_moments`, to (groups,)."""
    return moment.mean(0).flatten()


def _own_moments(x: Tensor, groups: int) -> dict[str, Tensor]:
    mean, var = group_moments(widened(x), groups)
    return {"mean": mean_of_samples(mean), "var": mean_of_samples(var)}


class GroupNorm(AffineNorm):
    """Each group of channels of each sample by its own mean and variance. x: (N, C) or (N, C, *).

    Wu & He 2018 (arXiv 1803.08494), equations 1, 2 and 7. `torch.nn.GroupNorm(groups, features)`, by its names.

    Raises:
        ValueError: the channels are not divisible by `groups`.
    """

    def __init__(self, features: int, *, groups: int = 32, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__(features, affine=affine)
        if features % groups:
            raise ValueError(f"{features} channels are not divisible by {groups} groups.")
        self.groups = groups
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = widened(x)
        return F.group_norm(wide, self.groups, *self.affine_as(wide), self.eps).to(x.dtype)

    def own_moments(self, x: Tensor) -> dict[str, Tensor]:
        return _own_moments(x, self.groups)

    def extra_repr(self) -> str:
        return f"{self.features}, groups={self.groups}, eps={self.eps}, affine={self.weight is not None}"


class InstanceNorm(AffineNorm):
    """Each channel of each sample by its own mean and variance. x: (N, C, *) with more than one position.

    Ulyanov et al. 2016 (arXiv 1607.08022), equation 3. `torch.nn.InstanceNorm2d(features)`, by its names; it
    keeps no running averages. The forward pass raises ValueError on one value of a channel in a sample, in
    either mode, as torch's does: it would become 0.
    """

    def __init__(self, features: int, *, eps: float = 1e-5, affine: bool = False) -> None:
        super().__init__(features, affine=affine)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = widened(x)
        weight, bias = self.affine_as(wide)
        return F.instance_norm(wide, weight=weight, bias=bias, eps=self.eps).to(x.dtype)

    def own_moments(self, x: Tensor) -> dict[str, Tensor]:
        return _own_moments(x, self.features)

    def extra_repr(self) -> str:
        return f"{self.features}, eps={self.eps}, affine={self.weight is not None}"
