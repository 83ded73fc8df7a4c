"""A model under evaluation, and what is found at the sites of its norms."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.layers import TokenNorm
from models.norms.base import Normalization, RunningNorm
from worker.batch_means import BatchMeans
from worker.drift import drift_of
from worker.input_moments import InputMoments, shift
from worker.precise import Population

#: By site and name: (values) or (time steps, values).
Findings = dict[str, dict[str, Tensor]]


def norms_by_site(model: nn.Module) -> dict[str, Normalization]:
    """Every norm, and every identity in the place of one, by the name of its site."""
    return dict(_sites("", model))


def _sites(name: str, module: nn.Module) -> Iterator[tuple[str, Normalization]]:
    if isinstance(module, TokenNorm):
        module = module.norm
    if isinstance(module, Normalization):
        yield name, module
        return
    for own_name, child in module.named_children():
        yield from _sites(f"{name}.{own_name}" if name else own_name, child)


class Subject:
    """A model, its norms by site, and what its passes let it find; everything stays on the device.

    `test_pass` and `train_pass` name the passes in which the inputs of the norms are compared.
    """

    def __init__(self, model: nn.Module, *, test_pass: str = "", train_pass: str = "") -> None:
        self.model = model
        sites = norms_by_site(model)
        self.running = {name: norm for name, norm in sites.items() if isinstance(norm, RunningNorm)}
        self.norms = list(self.running.values())
        #: Of each running norm, once they are estimated; and those that its running averages are compared with.
        self.populations: Sequence[Population] = []
        self.references: Sequence[Population] = []
        #: Of batches as the job draws them, and of shuffled ones.
        self.means = {"job": BatchMeans(self.norms), "shuffled": BatchMeans(self.norms)}
        self._test, self._train = InputMoments(sites), InputMoments(sites)
        self._watched = {test_pass: self._test, train_pass: self._train} if test_pass and train_pass else {}
        self._sites = sites

    def watch(self, name: str) -> AbstractContextManager[None]:
        """Look at the inputs of the norms during a pass, if it is one of those to look at."""
        return self._watched[name].watch(self.model) if name in self._watched else nullcontext()

    def drifts(self) -> Findings:
        """How far the running averages are from the population statistics, where these are estimated."""
        return {
            name: drift_of(norm, norm.stored_moments(), reference)
            for (name, norm), reference in zip(self.running.items(), self.references, strict=False)
        }

    def findings(self) -> Findings:
        """All that has been found."""
        found: Findings = {name: {} for name in self._sites}
        for name, values in self.drifts().items():
            found[name] |= values
        estimates = zip(self.populations, self.references, strict=True)
        for (name, norm), (population, reference) in zip(self.running.items(), estimates, strict=False):
            noise = {order: means.noise(norm, reference) for order, means in self.means.items()}
            found[name] |= _named("population", population)
            found[name] |= _named("noise", {order: value for order, value in noise.items() if value is not None})
        for name in self._sites if self._watched else ():
            found[name] |= _named("test", shift(self._test, self._train, name))
        return found


def _named(group: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{group}.{name}": value for name, value in values.items()}


def on_host(found: Findings) -> dict[str, dict[str, NDArray[np.floating]]]:
    """All findings at once, which waits for the device; sites without any are left out."""
    tensors = [value for values in found.values() for value in values.values()]
    if not tensors:
        return {}
    together = torch.cat([value.flatten().double() for value in tensors]).cpu().numpy()
    ends = accumulate(value.numel() for value in tensors)
    arrays = iter(
        together[end - value.numel() : end].reshape(tuple(value.shape))
        for value, end in zip(tensors, ends, strict=True)
    )
    return {site: {name: next(arrays) for name in values} for site, values in found.items() if values}
