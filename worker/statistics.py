"""What normalization did at each site: recorded on the device, read at a flush.

The moments of a batch norm come from the scratch buffers that its own kernel filled and cost no second pass over
the activations. Only in a recorded step is anything hooked: the output of the units whose percentiles are
wanted, and of sites without a norm, whose moments nothing else computes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.norms.batch import BatchNorm, RunningAverages
from models.shapes import Site
from worker.percentiles import OutputPercentiles

Array = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class SiteRows:
    """Rows of one site. moments: name to (rows, channels); percentiles: name to (rows, units)."""

    site: str
    steps: list[int]
    moments: dict[str, Array]
    percentiles: dict[str, Array]


class SiteStatistics:
    """Train-mode and eval-mode moments and output percentiles of the sites of a model.

    `units` names the channels of each site whose percentiles are wanted. All sites record the same steps.
    """

    def __init__(
        self,
        model: nn.Module,
        sites: Sequence[Site],
        averages: RunningAverages,
        units: Mapping[str, Sequence[int]],
        percentiles: Sequence[float],
    ) -> None:
        device = next(model.parameters()).device
        self._sites = {site.name: site for site in sites}
        self._averages = averages
        modules = {name: model.get_submodule(name) for name in self._sites}
        self._norms = {name: module for name, module in modules.items() if isinstance(module, BatchNorm)}
        self._percentiles = {
            name: OutputPercentiles(torch.tensor(list(chosen), device=device), percentiles)
            for name, chosen in units.items()
            if len(chosen) and len(percentiles)
        }
        self._watched = {
            name: module
            for name, module in modules.items()
            if name in self._percentiles or name not in self._norms
        }
        self._outputs: dict[str, Tensor] = {}
        self._clear()

    def _clear(self) -> None:
        self._steps: list[int] = []
        self._samples: list[int] = []
        self._copies: list[Tensor] = []
        self._moments: dict[str, list[Tensor]] = {name: [] for name in self._sites.keys() - self._norms.keys()}

    def watch(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """The forward pass of a recorded step; keeps the outputs that `take` needs."""
        hooks = [module.register_forward_hook(self._keep(name)) for name, module in self._watched.items()]
        try:
            outputs: Tensor = model(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return outputs

    def _keep(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._outputs[name] = output.detach()

        return hook

    @torch.no_grad()
    def take(self, step: int, samples: int) -> None:
        """Record a step of `samples` samples; call after the running averages have moved."""
        self._steps.append(step)
        self._samples.append(samples)
        self._copies.append(self._averages.copy())
        for name, moments in self._moments.items():
            output = self._outputs[name]
            but_channels = [0, *range(2, output.dim())]
            var, mean = torch.var_mean(output, dim=but_channels, correction=0)
            moments.append(torch.stack((mean, var)))
        for name, percentiles in self._percentiles.items():
            percentiles.take(self._outputs[name])
        self._outputs.clear()

    def flush(self, last_step: int | None = None) -> list[SiteRows]:
        """What has been recorded since the last flush, on the host; nothing beyond `last_step`."""
        if not self._steps:
            return []
        steps = [step for step in self._steps if last_step is None or step <= last_step]
        copies = torch.stack(self._copies).cpu()
        rows = []
        for name in self._sites:
            moments = {key: values.numpy() for key, values in self._moments_of(name, copies).items()}
            percentiles = self._percentiles[name].flush() if name in self._percentiles else {}
            rows.append(
                SiteRows(
                    site=name,
                    steps=steps,
                    moments=_first(len(steps), moments),
                    percentiles=_first(len(steps), percentiles),
                )
            )
        self._clear()
        return rows if steps else []

    def _moments_of(self, name: str, copies: Tensor) -> dict[str, Tensor]:
        """A site's moments at the recorded steps; the variance of a batch is the biased one, which normalized."""
        if name not in self._norms:
            mean, var = torch.stack(self._moments[name], dim=1).cpu()
            return {"train.mean": mean, "train.var": var}
        moments = self._averages.of(self._norms[name], copies)
        values = torch.tensor(self._samples, dtype=torch.float64)[:, None] * self._sites[name].positions
        biased = ((values - 1) / values).to(copies.dtype)
        return moments | {"train.var": moments["train.var"] * biased}


def _first(rows: int, series: dict[str, Array]) -> dict[str, Array]:
    return {name: values[:rows] for name, values in series.items()}
