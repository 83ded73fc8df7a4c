"""Batch normalization followed by noise that changes from step to step, and that noise alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.norms.base import AffineNorm, Normalization, per_channel
from models.norms.batch import BatchNorm


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Santurkar et al. 2018 (arXiv 1805.11604), appendix A, algorithm 1: a = s * y + m.

    For each channel and forward pass mu is drawn from U(-n_mu, n_mu) and sigma from U(1, n_sigma); for each value
    m from U(mu - r_mu, mu + r_mu) and s from N(sigma, r_sigma^2). The paper leaves open whether r_sigma is a
    standard deviation, as it is here. Draws are torch's, from the generator of the device.
    """

    n_mu: float = 0.5
    n_sigma: float = 1.25
    r_mu: float = 0.1
    r_sigma: float = 0.1

    def on(self, y: Tensor) -> Tensor:
        """With noise. y: (N, C) or (N, C, *)."""
        shift, scale = self._draw(y)
        return torch.addcmul(shift, scale, y)

    @torch.no_grad()
    def _draw(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Shift m and scale s of each value, shaped like y."""
        mu = y.new_empty(y.shape[1]).uniform_(-self.n_mu, self.n_mu)
        sigma = y.new_empty(y.shape[1]).uniform_(1, self.n_sigma)
        m = torch.empty_like(y).uniform_(-self.r_mu, self.r_mu).add_(per_channel(mu, y))
        s = torch.empty_like(y).normal_(0, self.r_sigma).add_(per_channel(sigma, y))
        return m, s


class NoisyBatchNorm(BatchNorm):
    """Batch normalization whose outputs are scaled and shifted at random in train mode. x: (N, C) or (N, C, *).

    The noise, `law` gives its constants, comes after scale and shift. Eval mode, of which the paper says nothing,
    has none here, nor has train mode while `noise` is false.
    """

    def __init__(
        self,
        features: int,
        *,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        **law: float,
    ) -> None:
        super().__init__(features, momentum=momentum, eps=eps, affine=affine)
        self.law = Noise(**law)

    def normalize_batch(self, x: Tensor) -> Tensor:
        y = super().normalize_batch(x)
        return self.law.on(y) if self.noise else y

    @torch.no_grad()
    def look(self, x: Tensor) -> None:
        super().normalize_batch(x)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self.law}"


class NoiseAlone(AffineNorm):
    """Scale, shift and the noise of `NoisyBatchNorm`, of inputs as they are. x: (N, C) or (N, C, *).

    The control of Santurkar et al. 2018, section 2.1: the same noise without batch normalization. It keeps no
    averages; eval mode has no noise.
    """

    def __init__(self, features: int, *, affine: bool = True, **law: float) -> None:
        super().__init__(features, affine=affine)
        self.law = Noise(**law)

    def forward(self, x: Tensor) -> Tensor:
        y = self.scaled(x).to(x.dtype)
        return self.law.on(y) if self.training else y

    def extra_repr(self) -> str:
        return f"{self.features}, affine={self.weight is not None}, {self.law}"


def noisy_batch_norm(
    features: int,
    *,
    normalize: bool = True,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    affine: bool = True,
    **law: float,
) -> Normalization:
    """The layer of a site: `normalize` decides if anything but the noise is left, `law` is the noise's."""
    if normalize:
        return NoisyBatchNorm(features, momentum=momentum, eps=eps, affine=affine, **law)
    return NoiseAlone(features, affine=affine, **law)
