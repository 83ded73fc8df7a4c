"""Batch normalization of each chunk of the batch by itself."""

from math import fsum

import torch
from torch import Tensor
from torch.nn import functional as F

from models.norms.batch import BatchNorm


def chunk_sizes(samples: int, size: int) -> list[int]:
    """Samples of each chunk: `size`, then what is left over; a single sample joins the chunk before it."""
    sizes = [size] * (samples // size)
    left = samples - sum(sizes)
    if left == 1 and sizes:
        sizes[-1] += 1
    elif left:
        sizes.append(left)
    return sizes


class GhostBatchNorm(BatchNorm):
    """Normalize each channel over each chunk of `size` samples by itself. x: (N, C) or (N, C, *).

    Hoffer et al. 2017 (arXiv 1705.08741), algorithm 1: each chunk moves the running averages once, in order, as
    if it were a batch. All that one batch does to them is one update here: the scratch buffers hold the mean of
    the chunks' moments with the weights that the chunks have relative to one another afterwards.
    """

    def __init__(
        self,
        features: int,
        *,
        size: int = 32,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
    ) -> None:
        super().__init__(features, momentum=momentum, eps=eps, affine=affine)
        self.size = size
        #: Values of a channel in each chunk of the latest batch, and the chunks' means and unbiased variances:
        #: (2, chunks, C).
        self._values = [2]
        self._moments = torch.zeros(2, 1, features)

    def normalize_batch(self, x: Tensor) -> Tensor:
        chunks = chunk_sizes(len(x), self.size)
        self._values = [samples * x.shape[2:].numel() for samples in chunks]
        self._moments = self.batch_mean.new_zeros(2, len(chunks), self.features)
        parts = [
            F.batch_norm(part, mean, var, self.weight, self.bias, True, 1.0, self.eps)
            for part, mean, var in zip(x.split(chunks), *self._moments, strict=True)
        ]
        self._join_chunks()
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _join_chunks(self) -> None:
        weights = self._weights()
        shares = [weight / fsum(weights) for weight in weights]
        for buffer, moments in zip((self.batch_mean, self.batch_var), self._moments, strict=True):
            buffer.copy_(_total(shares, moments))

    def _weights(self) -> list[float]:
        """Weight of each chunk of the latest batch in the running averages, relative to the last one's."""
        last = len(self._values) - 1
        kept = 1.0 if self.momentum is None else 1 - self.momentum
        return [kept ** (last - chunk) for chunk in range(last + 1)]

    def updates(self) -> int:
        return len(self._values)

    def newest_weight(self, seen: int) -> float:
        chunks = len(self._values)
        return chunks / (seen + chunks) if self.momentum is None else self.momentum * fsum(self._weights())

    def latest_batches(self, values: int) -> tuple[list[int], Tensor]:
        """The chunks."""
        return self._values, self._moments

    def raw_moments(self, values: int) -> Tensor:
        """Exact over all chunks, each with the weight of its values."""
        count = torch.tensor(self._values, dtype=torch.float64, device=self._moments.device)[:, None]
        means, variances = self._moments.double()
        squares = means.square() + variances * ((count - 1) / count)
        shares = count / values
        return torch.stack(((shares * means).sum(0), (shares * squares).sum(0)))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, size={self.size}"


def _total(weights: list[float], moments: Tensor) -> Tensor:
    """Sum of the chunks' moments times their weights. moments: (chunks, C)."""
    total = torch.zeros_like(moments[0])
    for weight, moment in zip(weights, moments, strict=True):
        # The host knows the weights: as a tensor they would have to be sent to the device.
        total.add_(moment, alpha=weight)
    return total
