"""Norms by the energy of the response: of neighbouring channels, and of each filter over its map."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.norms.base import AffineNorm, Normalization, per_channel, widened


class LocalResponseNorm(Normalization):
    """Each value by the mean square of the channels beside it. x: (N, C) or (N, C, *).

    Krizhevsky et al. 2012, section 3.3, with alpha divided by `size` as in `torch.nn.LocalResponseNorm`, and like
    it with the extra neighbour of an even `size` before the channel. Nothing is learned.
    """

    def __init__(
        self, features: int, *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
    ) -> None:
        super().__init__()
        self.features = features
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        wide = widened(x)
        # A window of 2C - 1 reaches all channels from each: a wider one would only be padding in memory.
        window = min(self.size, 2 * self.features - 1)
        squares = wide.square().reshape(len(x), 1, self.features, -1)
        padded = F.pad(squares, (0, 0, window // 2, (window - 1) // 2))
        energy = F.avg_pool2d(padded, (window, 1), stride=1).reshape(x.shape)
        return (wide / (self.k + self.alpha * window / self.size * energy) ** self.beta).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.features}, size={self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class FilterResponseNorm(AffineNorm):
    """Each channel of each sample by its mean square over positions. x: (N, C) or (N, C, *).

    Singh & Krishnan 2020 (arXiv 1911.09737), FRN and TLU; `eps` is fixed. With `activation` the thresholded
    linear unit follows: max(y, threshold), one threshold for each channel. They begin at 0, a ReLU.
    """

    def __init__(self, features: int, *, eps: float = 1e-6, activation: bool = False) -> None:
        super().__init__(features)
        self.eps = eps
        self.threshold = nn.Parameter(torch.zeros(features)) if activation else None

    def forward(self, x: Tensor) -> Tensor:
        wide = widened(x)
        y = self.scaled(wide * (_mean_squares(wide) + self.eps).rsqrt())
        if self.threshold is not None:
            y = torch.maximum(y, per_channel(self.threshold, y))
        return y.to(x.dtype)

    def own_moments(self, x: Tensor) -> dict[str, Tensor]:
        return {"scale": _mean_squares(widened(x)).sqrt().mean(0).flatten()}

    def extra_repr(self) -> str:
        return f"{self.features}, eps={self.eps}, activation={self.threshold is not None}"


def _mean_squares(x: Tensor) -> Tensor:
    """Of each channel of each sample over its positions. (N, C, *) to (N, C, 1, ...)."""
    if x.dim() == 2:  # a mean over no dimensions would be one over all
        return x.square()
    return x.square().mean(list(range(2, x.dim())), keepdim=True)
