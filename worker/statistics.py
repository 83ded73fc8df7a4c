"""What normalization did at each site: recorded on the device, read at a flush.

The moments of a batch norm come from the scratch buffers that its own kernel filled and cost no second pass over
the activations. Only in a recorded step is anything hooked: the output of the units whose percentiles are
wanted, and of sites without a norm, whose moments nothing else computes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.norms.batch import BatchNorm
from models.shapes import Site

Moments = dict[str, Tensor]


@dataclass(kw_only=True)
class _Records:
    """What one site has recorded since the last flush."""

    steps: list[int] = field(default_factory=list)
    moments: list[Moments] = field(default_factory=list)
    percentiles: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class SiteRows:
    """Rows of one site. moments: name to (rows, channels); percentiles: name to (rows, units)."""

    site: str
    steps: list[int]
    moments: dict[str, NDArray[np.floating]]
    percentiles: dict[str, NDArray[np.floating]]


class SiteStatistics:
    """Train-mode and eval-mode moments and output percentiles of the sites of a model.

    `units` names the channels of each site whose percentiles are wanted.
    """

    def __init__(
        self,
        model: nn.Module,
        sites: Sequence[Site],
        units: Mapping[str, Sequence[int]],
        percentiles: Sequence[float],
    ) -> None:
        self._modules = {site.name: model.get_submodule(site.name) for site in sites}
        self._positions = {site.name: site.positions for site in sites}
        device = next(model.parameters()).device
        self._units = {
            name: torch.tensor(list(chosen), device=device) for name, chosen in units.items() if len(chosen)
        }
        self._names = [f"{percentile:g}" for percentile in percentiles]
        self._quantiles = torch.tensor([p / 100 for p in percentiles], device=device)
        self._records = {site.name: _Records() for site in sites}
        self._outputs: dict[str, Tensor] = {}

    def watch(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """The forward pass of a recorded step; keeps the outputs that `take` needs."""
        hooks = [
            module.register_forward_hook(self._keep(name))
            for name, module in self._modules.items()
            if (name in self._units and self._names) or not isinstance(module, BatchNorm)
        ]
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
        for name, module in self._modules.items():
            records = self._records[name]
            records.steps.append(step)
            if isinstance(module, BatchNorm):
                records.moments.append(_batch_norm_moments(module, samples * self._positions[name]))
            else:
                var, mean = torch.var_mean(_by_channel(self._outputs[name]), dim=0, correction=0)
                records.moments.append({"train.mean": mean, "train.var": var})
            if name in self._units and self._names:
                chosen = _by_channel(self._outputs[name])[:, self._units[name]].float()
                records.percentiles.append(torch.quantile(chosen, self._quantiles, dim=0))
        self._outputs.clear()

    def flush(self, last_step: int | None = None) -> list[SiteRows]:
        """What has been recorded since the last flush, on the host; nothing beyond `last_step`."""
        rows = []
        for name, records in self._records.items():
            count = len([step for step in records.steps if last_step is None or step <= last_step])
            if count:
                rows.append(self._rows(name, records, count))
        self._records = {name: _Records() for name in self._records}
        return rows

    def _rows(self, name: str, records: _Records, count: int) -> SiteRows:
        moments = {
            key: torch.stack([moment[key] for moment in records.moments[:count]]).cpu().numpy()
            for key in records.moments[0]
        }
        percentiles = {}
        if records.percentiles:
            table = torch.stack(records.percentiles[:count]).cpu().numpy()
            percentiles = {key: table[:, row] for row, key in enumerate(self._names)}
        return SiteRows(site=name, steps=records.steps[:count], moments=moments, percentiles=percentiles)


def _batch_norm_moments(norm: BatchNorm, values: int) -> Moments:
    """The latest batch's mean and biased variance (what normalized), and the running ones as stored.

    `values` is how many values each channel had in the batch; the scratch variance is the unbiased one.
    """
    return {
        "train.mean": norm.batch_mean.clone(),
        "train.var": norm.batch_var * ((values - 1) / values),
        "eval.mean": norm.running_mean.clone(),
        "eval.var": norm.running_var.clone(),
    }


def _by_channel(output: Tensor) -> Tensor:
    """(N, C, *) to (values, C)."""
    return output.movedim(1, -1).flatten(0, -2)
