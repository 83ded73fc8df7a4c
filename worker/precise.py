"""Population statistics: what the running averages estimate, computed anew with frozen weights."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.norms.batch import BatchNorm


@dataclass(frozen=True, kw_only=True)
class Population:
    """Mean and unbiased variance of the inputs of one norm. (C,) each."""

    mean: Tensor
    var: Tensor


@torch.no_grad()
def estimate(
    model: nn.Module, norms: list[BatchNorm], batches: Iterable[tuple[Tensor, Tensor]]
) -> list[Population]:
    """The population statistics of each norm, from one pass with batch statistics.

    The population form of Wu & Johnson 2021 (arXiv 2105.07576): mean = E[mean_B] and
    variance = E[mean_B^2 + var_B] - mean^2, weighted by the number of values, so that ragged batches count
    for what they hold. Exact for the first norm; a deeper one sees inputs that batch statistics normalized.
    Leaves parameters and running averages alone; modes are the caller's to restore.
    """
    counts = [0] * len(norms)
    means = [norm.running_mean.new_zeros(norm.features, dtype=torch.float64) for norm in norms]
    squares = [torch.zeros_like(mean) for mean in means]
    values = [0] * len(norms)
    hooks = [norm.register_forward_hook(_count_values(values, index)) for index, norm in enumerate(norms)]
    try:
        with batch_statistics(model, norms):
            for inputs, _ in batches if norms else ():
                model(inputs)
                for index, norm in enumerate(norms):
                    n = values[index]
                    mean, unbiased = norm.batch_mean.double(), norm.batch_var.double()
                    counts[index] += n
                    means[index] += n * mean
                    squares[index] += n * mean.square() + (n - 1) * unbiased
    finally:
        for hook in hooks:
            hook.remove()
    return [
        _population(norm, count, mean, square)
        for norm, count, mean, square in zip(norms, counts, means, squares, strict=True)
    ]


def _count_values(values: list[int], index: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        values[index] = output.numel() // output.shape[1]

    return hook


def _population(norm: BatchNorm, count: int, mean_sum: Tensor, square_sum: Tensor) -> Population:
    mean = mean_sum / count
    # Unbiased, as the running variance is.
    var = (square_sum - count * mean.square()).clamp_min(0) / (count - 1)
    return Population(mean=mean.to(norm.running_mean.dtype), var=var.to(norm.running_var.dtype))


@contextmanager
def batch_statistics(model: nn.Module, norms: list[BatchNorm]) -> Iterator[None]:
    """Normalize by batch statistics with everything else in eval mode: no dropout, no buffer changed."""
    was_training = model.training
    model.eval()
    for norm in norms:
        norm.train()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def substituted(norms: list[BatchNorm], populations: list[Population]) -> Iterator[None]:
    """Put population statistics in the place of the running averages; afterwards these are as before."""
    before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    try:
        for norm, population in zip(norms, populations, strict=True):
            norm.running_mean.copy_(population.mean)
            norm.running_var.copy_(population.var)
        yield
    finally:
        for norm, (mean, var) in zip(norms, before, strict=True):
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)
