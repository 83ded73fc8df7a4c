"""Population statistics: what the running averages estimate, computed anew with frozen weights."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from models.norms.base import RunningNorm

#: What a norm would store, by moment: `mean` and `var`, say.
Population = dict[str, Tensor]


@torch.no_grad()
def estimate(
    model: nn.Module, norms: Sequence[RunningNorm], batches: Iterable[tuple[Tensor, Tensor]]
) -> list[Population]:
    """The population statistics of each norm, from one pass with batch statistics and, as in eval mode, no noise.

    The population form of Wu & Johnson 2021 (arXiv 2105.07576): mean = E[mean_B] and
    variance = E[mean_B^2 + var_B] - mean^2, weighted by the number of values, so that ragged batches count
    for what they hold. Exact for the first norm; a deeper one sees inputs that batch statistics normalized, in
    batch renormalization too: corrected towards running averages that lag, they would be of another scale.
    Leaves parameters and running averages alone; modes are the caller's to restore.
    """
    counts = [0] * len(norms)
    sums: list[Tensor] = []
    values = [0] * len(norms)
    hooks = [norm.register_forward_hook(_count_values(values, index)) for index, norm in enumerate(norms)]
    try:
        with batch_statistics(model, norms), _without_corrections(norms):
            for inputs, _ in batches if norms else ():
                model(inputs)
                raw = [norm.raw_moments(n) * n for norm, n in zip(norms, values, strict=True)]
                sums = [total + new for total, new in zip(sums, raw, strict=True)] if sums else raw
                counts = [count + n for count, n in zip(counts, values, strict=True)]
    finally:
        for hook in hooks:
            hook.remove()
    return [norm.population(total / count, count) for norm, total, count in zip(norms, sums, counts, strict=True)]


def _count_values(values: list[int], index: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        values[index] = output.numel() // output.shape[1]

    return hook


@contextmanager
def batch_statistics(model: nn.Module, norms: Sequence[RunningNorm]) -> Iterator[None]:
    """Normalize by batch statistics with everything else in eval mode: no dropout, no noise, no buffer changed.

    The one noise that stays is what the hidden state of a recurrent layer begins with (`models.cells`), where
    otherwise there would be no batch statistics to normalize by.
    """
    was_training, was_noisy = model.training, [norm.noise for norm in norms]
    model.eval()
    for norm in norms:
        norm.train()
        norm.noise = False
    try:
        yield
    finally:
        model.train(was_training)
        for norm, noise in zip(norms, was_noisy, strict=True):
            norm.noise = noise


@contextmanager
def _without_corrections(norms: Sequence[RunningNorm]) -> Iterator[None]:
    before = [norm.corrects for norm in norms]
    for norm in norms:
        norm.corrects = False
    try:
        yield
    finally:
        for norm, corrects in zip(norms, before, strict=True):
            norm.corrects = corrects


@contextmanager
def substituted(norms: Sequence[RunningNorm], populations: Sequence[Population]) -> Iterator[None]:
    """Put population statistics in the place of the running averages; afterwards these are as before."""
    before = [{moment: running.clone() for moment, _, running in norm.running()} for norm in norms]
    try:
        _store(norms, populations)
        yield
    finally:
        _store(norms, before)


def _store(norms: Sequence[RunningNorm], populations: Sequence[Population]) -> None:
    for norm, population in zip(norms, populations, strict=True):
        for moment, _, running in norm.running():
            running.copy_(population[moment])
