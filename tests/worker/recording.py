"""A model whose sites are recorded, beside what hooks of our own see of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.blueprint import Blueprint
from models.build import build
from models.norms.running import RunningAverages
from models.shapes import sites
from worker.statistics import SiteRows, SiteStatistics, Wanted, norm_of

RATE = 0.25


def wanted(**changes: Any) -> Wanted:
    """Every step of many is recorded, with all details but percentiles."""
    values = {"units": {}, "percentiles": (), "details": True, "every": 1, "steps": 10**9, "accumulate": 1}
    return Wanted(**values | changes)


def statistics_of(
    model: nn.Module, blueprint: Blueprint, averages: RunningAverages, **changes: Any
) -> SiteStatistics:
    return SiteStatistics(model, blueprint, averages, wanted(**changes), lambda: RATE)


class Recording:
    """A model in train mode, its statistics, and by hooks of our own what each site took and gave."""

    def __init__(self, blueprint: Blueprint, dtype: torch.dtype = torch.float32, **changes: Any) -> None:
        torch.manual_seed(0)
        self.blueprint = blueprint
        self.dtype = dtype
        self.model = build(blueprint).to(dtype).train()
        self.averages = RunningAverages(self.model.modules())
        self.statistics = statistics_of(self.model, blueprint, self.averages, **changes)
        self.sites = {site.name: site for site in sites(blueprint)}
        self.norms = {name: norm_of(self.model, site) for name, site in self.sites.items()}
        #: For each batch, one tensor or one for each time step.
        self.inputs: dict[str, list[list[Tensor]]] = {name: [] for name in self.norms}
        self.outputs: dict[str, list[list[Tensor]]] = {name: [] for name in self.norms}
        #: After each step.
        self.stored: dict[str, list[dict[str, Tensor]]] = {name: [] for name in self.norms}

    def batch(self, step: int, x: Tensor, *, recorded: bool = True) -> Tensor:
        """A batch of a step, with the gradient of a loss of it."""
        for kept in (self.inputs, self.outputs):
            for batches in kept.values():
                batches.append([])
        hooks = [norm.register_forward_hook(self._keep(name)) for name, norm in self.norms.items()]
        y = self.statistics.watch(self.model, x) if recorded else self.model(x)
        for hook in hooks:
            hook.remove()
        y.square().mean().backward()
        self.averages.update()
        self.statistics.observe(step, len(x))
        return y

    def step(self, step: int, *batches: Tensor, recorded: bool = True) -> None:
        """A whole step; the weights move a little."""
        self.model.zero_grad()
        for x in batches:
            self.batch(step, x, recorded=recorded)
        if recorded:
            self.statistics.take(step)
        for name, norm in self.norms.items():
            self.stored[name].append({key: value.clone() for key, value in norm.stored_moments().items()})
        with torch.no_grad():
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter -= 0.01 * parameter.grad

    def steps(self, sizes: Sequence[int]) -> dict[str, SiteRows]:
        """A step for each size of a batch, then a flush."""
        for step, samples in enumerate(sizes, start=1):
            self.step(step, self.sample(samples))
        return self.flush()

    def sample(self, samples: int) -> Tensor:
        """Normal inputs with a mean and a variance of their own."""
        return torch.randn(samples, *self.blueprint.input_shape, dtype=self.dtype) * 3 + 1

    def flush(self) -> dict[str, SiteRows]:
        return {rows.site: rows for rows in self.statistics.flush()}

    def _keep(self, name: str):
        def hook(module, inputs, output) -> None:
            self.inputs[name][-1].append(inputs[0].detach().double())
            self.outputs[name][-1].append(output.detach().double())

        return hook


def by_channel(x: Tensor) -> np.ndarray:
    """(values, C)."""
    return x.movedim(1, -1).flatten(0, -2).numpy()
