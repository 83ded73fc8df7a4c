"""Batch normalization whose mini-batch moments can be read at no extra cost."""

from collections.abc import Iterable
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm(nn.Module):
    """Normalize each channel over the batch. x: (N, C) or (N, C, *).

    Ioffe & Szegedy 2015, algorithm 1; eval mode uses the running averages in place of algorithm 2's population
    statistics. Parameters, buffers and their names are those of `torch.nn.BatchNorm1d`.

    In train mode the kernel runs with momentum 1 on two scratch buffers and so leaves in them the exact mean
    and unbiased variance of the batch, without a second pass over the activations. The running averages change
    only in `RunningAverages.update`, which the training loop calls once after each step: a forward pass in
    train mode (an evaluation with batch statistics, say) leaves them alone.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    batch_mean: Tensor
    batch_var: Tensor

    def __init__(self, features: int, *, momentum: float = 0.1, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.features = features
        self.momentum = momentum
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(features)) if affine else None
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))
        self.register_buffer("batch_mean", torch.zeros(features), persistent=False)
        self.register_buffer("batch_var", torch.ones(features), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return F.batch_norm(x, self.batch_mean, self.batch_var, self.weight, self.bias, True, 1.0, self.eps)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)

    def extra_repr(self) -> str:
        return f"{self.features}, momentum={self.momentum}, eps={self.eps}, affine={self.weight is not None}"


class RunningAverages:
    """The moments of every batch norm of a model, moved and copied together.

    The buffers of all layers become views of one tensor, so that a step costs two small operations however many
    layers there are: running = (1 - momentum) * running + momentum * batch, which is `torch.nn.BatchNorm1d`'s own
    rule and rounding. Make it when the model is on its device.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        found = [m for m in modules if isinstance(m, BatchNorm)]
        self.norms = sorted(found, key=lambda norm: norm.momentum)  # layers of one momentum lie together
        self._joined = _join_buffers(self.norms)
        self._places: dict[BatchNorm, tuple[slice, slice]] = {}
        end = 0
        for norm in self.norms:
            start, middle, end = end, end + norm.features, end + 2 * norm.features
            self._places[norm] = slice(start, middle), slice(middle, end)
        #: Momentum, and the parts of `_joined` that it moves: of the batch, and running.
        self._groups = [
            (momentum, *self._joined[:, self._span(list(norms))])
            for momentum, norms in groupby(self.norms, key=lambda norm: norm.momentum)
        ]
        # Counted here, not on the device: one addition a step in place of one a layer.
        self._updates = 0

    def _span(self, norms: list[BatchNorm]) -> slice:
        return slice(self._places[norms[0]][0].start, self._places[norms[-1]][1].stop)

    def update(self) -> None:
        """Take the moments of the latest batch into the running averages."""
        for momentum, batch, running in self._groups:
            # Not a lerp: with a small momentum its rounding leaves torch's own averages by 4e-6 in float32.
            running.mul_(1 - momentum).add_(batch, alpha=momentum)
        self._updates += 1

    def settle(self) -> None:
        """Write the count of updates into the buffers; call before the state is read."""
        for norm in self.norms:
            norm.num_batches_tracked += self._updates
        self._updates = 0

    def copy(self) -> Tensor:
        """The moments of all norms as they are now, for `of`: (2, values), of the latest batch and running."""
        return self._joined.clone()

    def of(self, norm: BatchNorm, copies: Tensor) -> dict[str, Tensor]:
        """One norm's part of some copies. copies: (rows, 2, values).

        Returns (rows, features) each: `train.mean` and `train.var` of the batch, the variance unbiased as the
        kernel leaves it, and `eval.mean` and `eval.var` as stored.
        """
        mean, var = self._places[norm]
        return {
            "train.mean": copies[:, 0, mean],
            "train.var": copies[:, 0, var],
            "eval.mean": copies[:, 1, mean],
            "eval.var": copies[:, 1, var],
        }


def _join_buffers(norms: list[BatchNorm]) -> Tensor:
    """One tensor that holds the moments of all norms, whose buffers become views of it: (2, values)."""
    if not norms:
        return torch.empty(2, 0)
    batch = torch.cat([moments for norm in norms for moments in (norm.batch_mean, norm.batch_var)])
    running = torch.cat([moments for norm in norms for moments in (norm.running_mean, norm.running_var)])
    joined = torch.stack((batch, running))
    for norm, part in zip(norms, joined.split([2 * norm.features for norm in norms], dim=1), strict=True):
        (norm.batch_mean, norm.batch_var), (norm.running_mean, norm.running_var) = (
            row.split(norm.features) for row in part
        )
    return joined
