"""Population statistics: what the running averages estimate, computed anew with frozen weights."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from models.norms.base import RunningNorm

#: What a norm would store, by moment: `mean` and `var`, say.
Population = dict[str, Tensor]
#: Inputs and targets.
Batches = Iterable[tuple[Tensor, Tensor]]


@torch.no_grad()
def estimate(model: nn.Module, norms: Sequence[RunningNorm], batches: Batches) -> list[Population]:
    """The population statistics of each norm, from one pass with batch statistics and, as in eval mode, no noise.

    The population form of Wu & Johnson 2021 (arXiv 2105.07576): mean = E[mean_B] and
    variance = E[mean_B^2 + var_B] - mean^2, weighted by the number of values, so that ragged batches count
    for what they hold. Exact for the first norm; a deeper one sees inputs that batch statistics normalized, in
    batch renormalization too: corrected towards running averages that lag, they would be of another scale.
    `worker.sequential` is exact for all.
    Leaves parameters, buffers, modes and generators as they were; float64.
    """
    counts = [0] * len(norms)
    sums: list[Tensor] = []
    values = [0] * len(norms)
    hooks = [norm.register_forward_hook(_count_values(values, index)) for index, norm in enumerate(norms)]
    try:
        with measuring(model, norms):
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
def generators_kept(model: nn.Module) -> Iterator[None]:
    """The generators of the host and of the model's device are afterwards as they were."""
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}
    with torch.random.fork_rng(list(devices)):
        yield


@contextmanager
def batch_statistics(model: nn.Module, norms: Sequence[RunningNorm], *, thaw: bool = True) -> Iterator[None]:
    """Normalize by batch statistics with everything else in eval mode: no dropout, no noise, no average moved.

    In frozen norms too, whose train mode no longer does; not with `thaw` false, for the function that trains.
    The one noise that stays is what the hidden state of a recurrent layer begins with (`models.cells`), where
    otherwise there would be no batch statistics to normalize by.
    """
    thawed = {"frozen": False} if thaw else {}
    with _modes_kept(model), _switched(norms, noise=False, **thawed):
        model.eval()
        for norm in norms:
            norm.train()
        yield


@contextmanager
def measuring(model: nn.Module, norms: Sequence[RunningNorm]) -> Iterator[None]:
    """`batch_statistics` without the correction of batch renormalization; leaves buffers and generators alone."""
    with (
        generators_kept(model),
        left_alone(norms),
        batch_statistics(model, norms),
        _switched(norms, corrects=False),
    ):
        yield


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode; afterwards every module is in the mode that it was in."""
    with _modes_kept(model):
        model.eval()
        yield


@contextmanager
def _modes_kept(model: nn.Module) -> Iterator[None]:
    before = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextmanager
def _switched(norms: Sequence[RunningNorm], **switches: bool) -> Iterator[None]:
    before = [{name: getattr(norm, name) for name in switches} for norm in norms]
    for norm in norms:
        _switch(norm, switches)
    try:
        yield
    finally:
        for norm, values in zip(norms, before, strict=True):
            _switch(norm, values)


def _switch(norm: RunningNorm, switches: dict[str, bool]) -> None:
    for name, value in switches.items():
        setattr(norm, name, value)


@contextmanager
def left_alone(norms: Sequence[RunningNorm]) -> Iterator[None]:
    """Running averages and scratch buffers are afterwards what they were, bit by bit; these begin anew."""
    before = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
    for norm in norms:
        for _, batch, _ in norm.running():
            batch.zero_()  # what is not finite there would stay: the kernel adds 0 times it
    try:
        yield
    finally:
        for buffer, values in before:
            buffer.copy_(values)


@contextmanager
def substituted(norms: Sequence[RunningNorm], populations: Sequence[Population]) -> Iterator[None]:
    """Put population statistics in the place of the running averages; afterwards these are as before."""
    with left_alone(norms):
        for norm, population in zip(norms, populations, strict=True):
            for moment, _, running in norm.running():
                running.copy_(population[moment])
        yield
