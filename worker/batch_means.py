"""How much the means of mini-batches scatter."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice

from torch import Tensor, nn

from models.norms.base import RunningNorm
from worker.drift import ratio
from worker.precise import Batches, measuring

#: Batches that are enough to see it.
BATCHES = 16


class BatchMeans:
    """The means of the first `BATCHES` batches that a model normalizes by batch statistics, at each norm."""

    def __init__(self, norms: Sequence[RunningNorm]) -> None:
        self._norms = norms
        self._means = [
            # There from the start: what is made between the activations of two batches would part their memory.
            None if mean is None else mean.new_empty(BATCHES, *mean.shape)
            for mean in map(_mean, norms)
        ]
        self._batches = 0

    @contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        """Take the batches that go through the model meanwhile."""
        with model.register_forward_hook(self._take):
            yield

    def _take(self, model: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self._batches < BATCHES:
            for norm, means in zip(self._norms, self._means, strict=True):
                mean = _mean(norm)
                if means is not None and mean is not None:
                    means[self._batches].copy_(mean)
            self._batches += 1

    def run(self, model: nn.Module, batches: Batches) -> None:
        """Take some batches by a pass of their own, which moves no average and has no noise."""
        with self.watch(model), measuring(model, self._norms):
            for inputs, _ in islice(batches, BATCHES):
                model(inputs)

    def noise(self, norm: RunningNorm, population: Mapping[str, Tensor]) -> Tensor | None:
        """Std_B(mean_B) / sigma of each channel; none of fewer than two batches, or where sigma is not known."""
        means, variance = self._means[self._norms.index(norm)], norm.variance(population)
        if means is None or variance is None or self._batches < 2:
            return None
        return ratio(means[: self._batches].double().std(0), variance.double().sqrt())


def _mean(norm: RunningNorm) -> Tensor | None:
    """Of the latest batch; of ghost batch norm's chunks, the one that goes into the running averages."""
    return dict(norm.named_buffers()).get("batch_mean")
