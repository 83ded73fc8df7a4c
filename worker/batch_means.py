"""How much the means of mini-batches scatter."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice

import torch
from torch import Tensor, nn

from models.norms.base import RunningNorm
from worker.drift import ratio
from worker.precise import Batches, measuring

#: Batches that are enough to see it.
BATCHES = 16


class BatchMeans:
    """The means of the first `BATCHES` batches that a model normalizes by batch statistics, at each norm.

    Where a norm normalizes the parts of a batch by themselves, those of the parts.
    """

    def __init__(self, norms: Sequence[RunningNorm]) -> None:
        self._norms = norms
        self._means = [
            # There from the start: what is made between the activations of two batches would part their memory.
            None if mean is None else mean.new_empty(BATCHES, *mean.shape)
            for mean in map(_mean, norms)
        ]
        #: Of each batch, (parts, C), where the scratch buffers do not say what was normalized by itself.
        self._parts: list[list[Tensor] | None] = [None if _parts(norm) is None else [] for norm in norms]
        self._batches = 0

    @contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        """Take the batches that go through the model meanwhile."""
        with model.register_forward_hook(self._take):
            yield

    def _take(self, model: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self._batches < BATCHES:
            for norm, means, parts in zip(self._norms, self._means, self._parts, strict=True):
                if parts is not None and (latest := _parts(norm)) is not None:
                    parts.append(latest)
                elif means is not None and (mean := _mean(norm)) is not None:
                    means[self._batches].copy_(mean)
            self._batches += 1

    def run(self, model: nn.Module, batches: Batches) -> None:
        """Take some batches by a pass of their own, which moves no average and has no noise."""
        with self.watch(model), measuring(model, self._norms):
            for inputs, _ in islice(batches, BATCHES):
                model(inputs)

    def noise(self, norm: RunningNorm, population: Mapping[str, Tensor]) -> Tensor | None:
        """Std_B(mean_B) / sigma of each channel; none of fewer than two means, or where sigma is not known."""
        means, variance = self._found(self._norms.index(norm)), norm.variance(population)
        if means is None or variance is None or len(means) < 2:
            return None
        return ratio(means.double().std(0), variance.double().sqrt())

    def _found(self, place: int) -> Tensor | None:
        """The means of all batches, or of all their parts, one after the other: (means, C)."""
        parts, means = self._parts[place], self._means[place]
        if parts:
            return torch.cat(parts)
        return None if means is None else means[: self._batches]


def _mean(norm: RunningNorm) -> Tensor | None:
    """Of the latest batch."""
    return dict(norm.named_buffers()).get("batch_mean")


def _parts(norm: RunningNorm) -> Tensor | None:
    """Of what the latest batch was normalized in, (parts, C); none where that was the whole batch."""
    # How many values the batch had is told to those that count them; means need no count.
    latest = norm.latest_batches(2)
    return None if latest is None else latest[1][0]
