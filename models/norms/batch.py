"""Batch normalization whose mini-batch moments can be read at no extra cost, and with fixed statistics."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.norms.base import AffineNorm, Normalization, RunningNorm


class BatchNorm(RunningNorm):
    """Normalize each channel over the batch. x: (N, C) or (N, C, *).

    Ioffe & Szegedy 2015, algorithm 1; eval mode uses the running averages in place of algorithm 2's population
    statistics. Parameters, buffers and their names are those of `torch.nn.BatchNorm1d`; `momentum` None weighs
    every batch the same.

    In train mode the kernel runs with momentum 1 on the scratch buffers and so leaves in them the exact mean
    and unbiased variance of the batch, without a second pass over the activations.
    """

    running_mean: Tensor
    running_var: Tensor
    batch_mean: Tensor
    batch_var: Tensor

    def __init__(
        self, features: int, *, momentum: float | None = 0.1, eps: float = 1e-5, affine: bool = True
    ) -> None:
        super().__init__(features, momentum=momentum, eps=eps, affine=affine)

    def normalize_batch(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.batch_mean, self.batch_var, self.weight, self.bias, True, 1.0, self.eps)

    def normalize_stored(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


class UntrackedBatchNorm(AffineNorm):
    """Batch normalization that keeps nothing: eval mode uses batch statistics too. x: (N, C) or (N, C, *).

    `torch.nn.BatchNorm1d(..., track_running_stats=False)`.
    """

    uses_batch = True

    def __init__(self, features: int, *, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__(features, affine=affine)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)


class StepBatchNorm(RunningNorm):
    """Batch normalization inside a recurrent cell, with statistics of its own for each time step. x: (N, C).

    Cooijmans et al. 2016 (arXiv 1603.09025), section 3; scale `gamma` begins at 0.1, because 1 lets gradients
    vanish through tanh (section 4). A sequence that is longer than `steps` uses the statistics of the last one in
    eval mode, and those of its batch alone in train mode. Buffers: (steps, C).

    With `moves_itself` the averages move in `end_sequence`, those of the time steps that the sequence had. With
    `momentum` None they count all sequences before, also those too short for a time step.
    """

    running_mean: Tensor
    running_var: Tensor
    batch_mean: Tensor
    batch_var: Tensor

    def __init__(
        self,
        features: int,
        *,
        steps: int,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        shift: bool = True,
        gamma: float = 0.1,
    ) -> None:
        super().__init__(features, momentum=momentum, eps=eps, affine=affine, steps=steps)
        self.steps = steps
        if self.weight is not None:
            nn.init.constant_(self.weight, gamma)
        if not shift:
            self.bias = None

    def forward(self, x: Tensor, step: int = 0) -> Tensor:
        if not self.by_batch:
            if self.training:
                self.look(x, step)
            row = min(step, self.steps - 1)
            mean, var = self.running_mean[row], self.running_var[row]
            return F.batch_norm(x, mean, var, self.weight, self.bias, False, 0.0, self.eps)
        return self.normalize_batch(x, step)

    def normalize_batch(self, x: Tensor, step: int = 0) -> Tensor:
        if step >= self.steps:
            return F.batch_norm(x, None, None, self.weight, self.bias, True, 1.0, self.eps)
        mean, var = self.batch_mean[step], self.batch_var[step]
        return F.batch_norm(x, mean, var, self.weight, self.bias, True, 1.0, self.eps)

    @torch.no_grad()
    def look(self, x: Tensor, step: int = 0) -> None:
        self.normalize_batch(x, step)

    def end_sequence(self, length: int) -> None:
        """Say that a sequence of `length` time steps is over: its cell alone knows."""
        if self.by_batch and self.moves_itself:
            self._move(length)


class FrozenBatchNorm(Normalization):
    """Batch normalization with fixed statistics, scale and shift, in train mode too. x: (N, C) or (N, C, *).

    detectron2's and torchvision's FrozenBatchNorm2d: everything is a buffer, so that neither an optimizer nor
    `train()` can change it.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, features: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.features = features
        self.eps = eps
        self.register_buffer("weight", torch.ones(features))
        self.register_buffer("bias", torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.get_buffer("weight"), self.get_buffer("bias")
        return F.batch_norm(x, self.running_mean, self.running_var, weight, bias, False, 0.0, self.eps)

    def stored_moments(self) -> Mapping[str, Tensor]:
        return {"mean": self.running_mean, "var": self.running_var}


def batch_norm(
    features: int,
    *,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    affine: bool = True,
    track: bool = True,
    **cell: int | float | bool,
) -> Normalization:
    """The batch norm of a site: `track` decides if it keeps running averages, `cell` is of recurrent sites."""
    if cell:
        return StepBatchNorm(features, momentum=momentum, eps=eps, affine=affine, **cell)  # type: ignore[arg-type]
    if track:
        return BatchNorm(features, momentum=momentum, eps=eps, affine=affine)
    return UntrackedBatchNorm(features, eps=eps, affine=affine)
