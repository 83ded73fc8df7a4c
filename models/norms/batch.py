"""Batch normalization whose mini-batch moments can be read at no extra cost."""

from collections.abc import Iterable

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
    """The running averages of every batch norm of a model, moved together.

    The buffers of all layers of one momentum become views of one tensor, so that a step costs two small
    operations however many layers there are: running = (1 - momentum) * running + momentum * batch, which is
    `torch.nn.BatchNorm1d`'s own rule and rounding. Make it when the model is on its device.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self.norms = [m for m in modules if isinstance(m, BatchNorm)]
        by_momentum: dict[float, list[BatchNorm]] = {}
        for norm in self.norms:
            by_momentum.setdefault(norm.momentum, []).append(norm)
        self._groups = [
            (
                momentum,
                _join_buffers(norms, ("running_mean", "running_var")),
                _join_buffers(norms, ("batch_mean", "batch_var")),
            )
            for momentum, norms in by_momentum.items()
        ]
        # Counted here, not on the device: one addition a step in place of one a layer.
        self._updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take the moments of the latest batch into the running averages."""
        for momentum, running, batch in self._groups:
            # Not a lerp: with a small momentum its rounding leaves torch's own averages by 4e-6 in float32.
            running.mul_(1 - momentum).add_(batch, alpha=momentum)
        self._updates += 1

    def settle(self) -> None:
        """Write the count of updates into the buffers; call before the state is read."""
        for norm in self.norms:
            norm.num_batches_tracked += self._updates
        self._updates = 0


def _join_buffers(norms: list[BatchNorm], names: tuple[str, str]) -> Tensor:
    """One tensor that holds the named buffers of all norms, which become views of it."""
    places = [(norm, name) for norm in norms for name in names]
    joined = torch.cat([getattr(norm, name) for norm, name in places])
    parts = joined.split([norm.features for norm, _ in places])
    for (norm, name), part in zip(places, parts, strict=True):
        setattr(norm, name, part)
    return joined
