"""Where samples lie relative to the folds of each layer, and how batch statistics move these."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.norms.base import channel_moments, per_channel
from models.norms.ghost import GhostBatchNorm
from worker.probes.base import State, Values
from worker.probes.folds import Fold, folds, watching
from worker.probes.signs import Signs, nearest
from worker.probes.subject import Subject
from worker.probes.vectors import on_host

#: Of the random biases, the same ones at every measurement.
BIAS_SEED = 0

Numbers = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The folds of a network of ReLUs, and what batch norm does to them.

    Balestriero & Baraniuk 2022 (arXiv 2209.14778). Unit k folds the space of its layer's inputs along a hyperplane
    H_k. Of the same training samples each time, in eval mode, which is the function that would be deployed:

    - `<site>/distance`, the median over samples, units and positions of the distance to H_k,
      |y_k| sigma_k / (|gamma_k| ||w_k||), without a norm |h_k| / ||w_k||; infinite where gamma_k or w_k is 0;
    - `<site>/near`, the share of samples that are nearer than `radius` to one of the folds;
    - `<site>/tls_batch`, `tls_zero`, `tls_random`, the total least squares of the samples and H_k, the mean over
      the units: where batch norm with beta 0 would put it, through the origin, and with a bias drawn as torch
      draws one. The first is the least that there is;
    - `<site>/regions` and `regions`, how many patterns of signs the samples have, at the site and in all ReLUs;
    - `<site>/hamming` and `hamming`, the share of signs in which a sample differs from the one nearest to it in
      the input space, the mean over the samples;
    - `samples`, how many there are, and `passes`, forward alone.

    Where the norm uses the batch, also in train mode over `batches` whole batches of the job's size:

    - `<site>/jitter`, the standard deviation over batches of how far H_k is from the origin,
      Std_B(mu_B - beta sigma_B / gamma) / ||w_k||, the mean over the units; of ghost batch norm, of first chunks;
    - `<site>/jitter_share`, the same relative to the median distance.

    Units whose gamma or weights are 0 have no H_k: means leave them out.
    """

    name = "geometry"
    every: int
    radius: float
    #: The samples of the distances: (N, *).
    inputs: Tensor = field(repr=False)
    #: The inputs of the batches of the jitter, anew at each call; fewer than two for none.
    batches: Callable[[], Iterable[Tensor]] = field(repr=False)

    def measure(self, state: State) -> Values:
        subject = Subject(state)
        watched = list(folds(subject.model))
        numbers, signs = self._at_rest(subject, watched)
        batches = self._add_jitter(subject, [fold for fold in watched if fold.jitters], numbers)
        counts = self._counts("", Signs.join(list(signs.values()))) if signs else {}
        for fold in watched:
            counts |= self._counts(f"{fold.name}/", signs[fold.relu])
        sizes = {"samples": len(self.inputs), "batches": batches, "passes": subject.passes}
        return on_host(numbers) | counts | sizes

    def _at_rest(self, subject: Subject, watched: Sequence[Fold]) -> tuple[Numbers, dict[nn.Module, Signs]]:
        """What one pass over the samples shows."""
        numbers: Numbers = {}
        signs: dict[nn.Module, Signs] = {}

        def take(fold: Fold, h: Tensor, y: Tensor) -> None:
            found = distances(fold, y, self.radius) | total_least_squares(fold, h)
            numbers.update({f"{fold.name}/{name}": number for name, number in found.items()})

        with subject.eval_mode(), watching(watched, take), ExitStack() as hooks:
            for module in subject.model.modules():
                if isinstance(module, nn.ReLU):
                    hooks.enter_context(module.register_forward_hook(partial(_keep_signs, signs)))
            subject.run(self.inputs)
        return numbers, signs

    def _add_jitter(self, subject: Subject, watched: Sequence[Fold], numbers: Numbers) -> int:
        """Add what several batches show to the numbers; returns how many there were."""
        offsets: dict[Fold, list[Tensor]] = {fold: [] for fold in watched}
        batches = 0

        def take(fold: Fold, h: Tensor, y: Tensor) -> None:
            offsets[fold].append(offset(fold, h, y))

        with subject.batch_statistics(), watching(watched, take):
            for inputs in self.batches() if watched else ():
                subject.run(inputs)
                batches += 1
        if batches < 2:
            return batches
        for fold, moved in offsets.items():
            exist = fold.slopes() * fold.lengths() != 0
            jitter = (torch.stack(moved).std(0) / fold.lengths())[exist].mean()
            numbers[f"{fold.name}/jitter"] = jitter
            numbers[f"{fold.name}/jitter_share"] = jitter / numbers[f"{fold.name}/distance"]
        return batches

    def _counts(self, prefix: str, signs: Signs) -> Values:
        return {f"{prefix}regions": signs.regions(), f"{prefix}hamming": signs.hamming(self._neighbours)}

    @cached_property
    def _neighbours(self) -> NDArray[np.int64]:
        return nearest(self.inputs)


def distances(fold: Fold, y: Tensor, radius: float) -> Numbers:
    """Median distance and share of near samples. y: the ReLU's inputs, (N, C, *)."""
    scales = per_channel(fold.slopes().abs() * fold.lengths(), y)
    found = y.abs().div_(scales).masked_fill_(scales == 0, torch.inf)
    near = (found.flatten(1).amin(1) < radius).to(y.dtype).mean()
    return {"distance": found.median(), "near": near}


def total_least_squares(fold: Fold, h: Tensor) -> Numbers:
    """Mean square distance to the hyperplanes at three offsets. h: the layer's outputs, (N, C, *)."""
    lengths, bias = fold.lengths(), fold.layer.bias
    exist = lengths != 0
    mean, var = channel_moments(h)
    mean = mean if bias is None else mean - bias
    drawn = torch.rand(len(lengths), generator=torch.Generator().manual_seed(BIAS_SEED)).to(mean)
    random = (2 * drawn - 1) * fold.layer.weight[0].numel() ** -0.5
    offsets = {"batch": -mean, "zero": torch.zeros_like(mean), "random": random}
    return {
        f"tls_{name}": ((var + (mean + at).square()) / lengths.square())[exist].mean()
        for name, at in offsets.items()
    }


def offset(fold: Fold, h: Tensor, y: Tensor) -> Tensor:
    """The value of <w_k, z> where the ReLU's input is 0 in this batch, mu_B - beta sigma_B / gamma: (C,).

    Read off the two tensors, between which train mode is a linear function of each channel, and so right for
    every norm of that kind. h: the layer's outputs, y: the ReLU's inputs, (N, C, *) each.
    """
    if isinstance(fold.norm, GhostBatchNorm):
        h, y = h[: fold.norm.size], y[: fold.norm.size]
    mean, var = channel_moments(h)
    center, _ = channel_moments(y)
    covariance = channel_moments((h - per_channel(mean, h)) * y)[0]
    found = mean - center * var / covariance
    return found if fold.layer.bias is None else found - fold.layer.bias


def _keep_signs(
    signs: dict[nn.Module, Signs], relu: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
) -> None:
    signs[relu] = Signs.of(output)
