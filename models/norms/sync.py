"""Batch normalization over the batches of all processes."""

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F

from models.norms.base import channel_moments, per_channel, widened
from models.norms.batch import BatchNorm


class SyncBatchNorm(BatchNorm):
    """Normalize each channel over the batches of all processes, joined. x: (N, C) or (N, C, *).

    Ioffe & Szegedy 2015 (arXiv 1502.03167), algorithm 1, over all of them. The shards may differ in size, down
    to a single sample or none. Gradients of the input are those of the joined batch if the losses of the
    processes are added; gradients of scale and shift are each process's part of theirs. Every process must
    take part in every forward pass in train mode and in its backward pass, or the others wait for it.

    In one process, or without torch.distributed, it is `BatchNorm`. As there, train mode raises ValueError where
    the joined batch has one value of a channel: in every process.
    """

    #: Values of a channel in the latest joined batch.
    _values: Tensor | None = None

    def normalize_batch(self, x: Tensor) -> Tensor:
        if _processes() == 1:
            self._values = None
            return super().normalize_batch(x)
        wide = widened(x)
        mean, var, self._values = _joined_moments(wide)
        # Only who has so few itself need ask the device; if all have, all do and stop together.
        if x.numel() // self.features < 2 and self._values < 2:
            raise ValueError(f"Expected more than 1 value per channel when training, got {x.shape} of all")
        with torch.no_grad():
            self.batch_mean.copy_(mean)
            self.batch_var.copy_(var * (self._values / (self._values - 1)))
        centred = wide - per_channel(mean, x)
        return self.scaled(centred * per_channel((var + self.eps).rsqrt(), x)).to(x.dtype)

    def raw_moments(self, values: int) -> Tensor:
        return super().raw_moments(values if self._values is None else int(self._values))


class _Sum(torch.autograd.Function):
    """The sum over all processes.

    Each process's loss depends on the sum, and so the gradient of a summand is the sum of the gradients that
    the processes have of it.
    """

    @staticmethod
    def forward(ctx: Any, summand: Tensor) -> Tensor:
        total = summand.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _sum(gradients[0])


def _sum(summand: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(summand)  # type: ignore[no-untyped-call]  # torch gives it no type
    return total


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _joined_moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance of each channel, (C,), and the number of values: over all processes.

    As Chan, Golub & LeVeque 1983 (The American Statistician 37, 242) join samples: by the moments of each, not by
    the sums of x and x^2, whose difference loses all digits where the mean is large.
    """
    # Sums over nothing, which are 0 where a mean over nothing is not a number, still have a gradient to pass on.
    mean, var = channel_moments(x) if len(x) else (x.sum([0, *range(2, x.dim())]),) * 2
    values = x.numel() // x.shape[1]
    row = torch.cat((mean, var, mean.new_full((1,), values)))
    # Everyone's row beside the others', by one sum with a row of zeros for each other process.
    before, after = dist.get_rank(), _processes() - dist.get_rank() - 1
    rows = _sum(F.pad(row[None], (0, 0, before, after)))
    means, variances, counts = rows.split([len(mean), len(var), 1], dim=1)
    total = counts.sum()
    shares = counts / total
    mean = (shares * means).sum(0)
    var = (shares * (variances + (means - mean).square())).sum(0)
    return mean, var, total.detach()
