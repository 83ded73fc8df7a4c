"""Batch normalization followed by noise that changes from step to step."""

import torch
from torch import Tensor

from models.norms.base import per_channel
from models.norms.batch import BatchNorm


class NoisyBatchNorm(BatchNorm):
    """Batch normalization whose outputs are scaled and shifted at random in train mode. x: (N, C) or (N, C, *).

    Santurkar et al. 2018 (arXiv 1805.11604), appendix A, algorithm 1: a = s * y + m, after scale and shift. For
    each channel and forward pass mu is drawn from U(-n_mu, n_mu) and sigma from U(1, n_sigma); for each value m
    from U(mu - r_mu, mu + r_mu) and s from N(sigma, r_sigma^2). The paper leaves open whether r_sigma is a
    standard deviation, as it is here, and what eval mode does; here it has no noise, nor has train mode while
    `noise` is false. Draws are torch's, from the generator of the device.
    """

    def __init__(
        self,
        features: int,
        *,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        n_mu: float = 0.5,
        n_sigma: float = 1.25,
        r_mu: float = 0.1,
        r_sigma: float = 0.1,
    ) -> None:
        super().__init__(features, momentum=momentum, eps=eps, affine=affine)
        self.n_mu = n_mu
        self.n_sigma = n_sigma
        self.r_mu = r_mu
        self.r_sigma = r_sigma

    def normalize_batch(self, x: Tensor) -> Tensor:
        y = super().normalize_batch(x)
        if not self.noise:
            return y
        shift, scale = self._draw(y)
        return torch.addcmul(shift, scale, y)

    @torch.no_grad()
    def look(self, x: Tensor) -> None:
        super().normalize_batch(x)

    @torch.no_grad()
    def _draw(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Shift m and scale s of each value, shaped like y."""
        mu = y.new_empty(self.features).uniform_(-self.n_mu, self.n_mu)
        sigma = y.new_empty(self.features).uniform_(1, self.n_sigma)
        m = torch.empty_like(y).uniform_(-self.r_mu, self.r_mu).add_(per_channel(mu, y))
        s = torch.empty_like(y).normal_(0, self.r_sigma).add_(per_channel(sigma, y))
        return m, s

    def extra_repr(self) -> str:
        noise = ", ".join(f"{name}={getattr(self, name)}" for name in ("n_mu", "n_sigma", "r_mu", "r_sigma"))
        return f"{super().extra_repr()}, {noise}"
