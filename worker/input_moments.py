"""Mean and variance of what reaches each norm, over many batches, of any norm and of none."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from models.norms.base import Normalization, per_channel, widened
from worker.drift import log_ratio, ratio


class InputMoments:
    """Of the inputs of norms, channel by channel, while it watches a model; on the device."""

    def __init__(self, norms: Mapping[str, Normalization]) -> None:
        self._names = {norm: name for name, norm in norms.items()}
        #: For each norm, of each time step: sums of x and x^2 in float64, and how many values they are of.
        self._sums: dict[str, list[Tensor]] = {name: [] for name in norms}
        self._values: Counter[tuple[str, int]] = Counter()
        self._calls: Counter[str] = Counter()

    @contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        """Count in the batches that go through the model meanwhile."""
        with ExitStack() as hooks:
            hooks.enter_context(model.register_forward_pre_hook(lambda *_: self._calls.clear()))
            for norm in self._names:
                hooks.enter_context(norm.register_forward_pre_hook(self._take))
            yield

    def _take(self, norm: Normalization, inputs: tuple[Tensor, ...]) -> None:
        name, x = self._names[norm], inputs[0]
        step, values = self._calls[name], x.numel() // x.shape[1]
        self._calls[name] += 1
        self._values[name, step] += values
        if step == len(self._sums[name]):
            self._sums[name].append(torch.zeros(2, x.shape[1], dtype=torch.float64, device=x.device))
        mean, square = self._sums[name][step]
        own_mean, own_var = _moments(widened(x))
        mean.add_(own_mean, alpha=values)
        square.add_(own_var.double() + own_mean.double().square(), alpha=values)

    def of(self, name: str) -> tuple[Tensor, Tensor]:
        """Mean and biased variance of the inputs of one norm: (C) each, or (time steps, C)."""
        sums = [total / self._values[name, step] for step, total in enumerate(self._sums[name])]
        mean, square = (sums[0] if len(sums) == 1 else torch.stack(sums, dim=1)).unbind()
        return mean, (square - mean.square()).clamp_min(0)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of each channel. In two passes: on the CPU a tenth of the time of `torch.var_mean`."""
    but_channels = [0, *range(2, x.dim())]
    mean = x.mean(but_channels)
    return mean, (x - per_channel(mean, x)).square_().mean(but_channels)


def shift(test: InputMoments, train: InputMoments, name: str) -> dict[str, Tensor]:
    """How far the inputs of a norm on test data lie from those on training data: `delta` and `rho`."""
    (mean, var), (reference, spread) = test.of(name), train.of(name)
    return {"delta": ratio((mean - reference).abs(), spread.sqrt()), "rho": log_ratio(var, spread)}
