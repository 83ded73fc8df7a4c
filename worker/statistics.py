"""What normalization did at each site: recorded on the device, read at a flush.

The moments of a norm that keeps running averages come from the scratch buffers that its own forward pass filled
and cost no second pass over the activations; where these hold something else than what normalized, as with the
chunks of ghost batch norm, the norm itself says it. Only in a recorded step is anything hooked: the output of the
units whose percentiles are wanted, and the input of norms that keep nothing, which then compute their moments
from it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.norms.base import Normalization, RunningNorm
from models.norms.running import RunningAverages
from models.shapes import Site
from worker.percentiles import OutputPercentiles

Array = NDArray[np.floating]
#: A forward pass: the model itself, or the model under autocast.
Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class SiteRows:
    """Rows of one site. moments: name to (rows, values), in a recurrent layer (rows, time steps, values).

    percentiles: name to (rows, units).
    """

    site: str
    steps: list[int]
    moments: dict[str, Array]
    percentiles: dict[str, Array]


@dataclass(kw_only=True)
class _Watched:
    """A site that is hooked in recorded steps: its inputs and outputs of one step, one for each time step."""

    norm: Normalization
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)

    def keep(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """As a forward hook."""
        self.inputs.append(inputs[0].detach())
        self.outputs.append(output.detach())

    def moments(self) -> dict[str, Tensor]:
        """What the site has to show of the step: (values) each, or (time steps, values)."""
        of_steps = [self.norm.own_moments(x) for x in self.inputs]
        own = {
            f"train.{name}": torch.stack([each[name] for each in of_steps]) if len(of_steps) > 1 else first
            for name, first in of_steps[0].items()
        }
        return own | {f"eval.{name}": stored.clone() for name, stored in self.norm.stored_moments().items()}

    def output(self) -> Tensor:
        """(N, C) or (N, C, *); time steps count as positions."""
        return self.outputs[0] if len(self.outputs) == 1 else torch.stack(self.outputs, dim=2)

    def clear(self) -> None:
        self.inputs.clear()
        self.outputs.clear()


def norm_of(model: nn.Module, site: Site) -> Normalization:
    """The layer at a site."""
    module = model.get_submodule(f"{site.name}.norm" if site.tokens else site.name)
    if not isinstance(module, Normalization):
        raise TypeError(f"Site {site.name} holds a {type(module).__name__}, which is no Normalization.")
    return module


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
        norms = {site.name: norm_of(model, site) for site in sites}
        self._running = {name: norm for name, norm in norms.items() if isinstance(norm, RunningNorm)}
        # Asked once: the others need nothing in a recorded step but the copy of all averages together.
        self._apart = {name: norm for name, norm in self._running.items() if norm.normalized_by()}
        self._percentiles = {
            name: OutputPercentiles(torch.tensor(list(chosen), device=device), percentiles)
            for name, chosen in units.items()
            if len(chosen) and len(percentiles)
        }
        self._watched = {
            name: _Watched(norm=norm)
            for name, norm in norms.items()
            if name in self._percentiles or name not in self._running
        }
        self._latest_samples = 0
        self._clear()

    def _clear(self) -> None:
        self._steps: list[int] = []
        self._samples: list[int] = []
        self._copies: list[Tensor] = []
        self._moments: dict[str, list[Mapping[str, Tensor]]] = {
            name: [] for name in self._sites if name not in self._running or name in self._apart
        }

    def watch(self, forward: Forward, inputs: Tensor) -> Tensor:
        """The forward pass of a recorded step; keeps what `take` needs."""
        for watched in self._watched.values():
            watched.clear()
        hooks = [watched.norm.register_forward_hook(watched.keep) for watched in self._watched.values()]
        try:
            return forward(inputs)
        finally:
            for hook in hooks:
                hook.remove()

    def observe(self, step: int, samples: int) -> None:
        """One batch of a step is through, and the running averages have moved."""
        self._latest_samples = samples

    @torch.no_grad()
    def take(self, step: int) -> None:
        """Record a step, before the optimizer moves the weights."""
        self._steps.append(step)
        self._samples.append(self._latest_samples)
        self._copies.append(self._averages.copy())
        for name, moments in self._moments.items():
            apart = self._apart.get(name)
            moments.append(apart.normalized_by() if apart else self._watched[name].moments())
        for name, percentiles in self._percentiles.items():
            percentiles.take(self._watched[name].output())
        for watched in self._watched.values():
            watched.clear()

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
        kept = self._moments.get(name)
        own = {key: torch.stack([each[key] for each in kept]).cpu() for key in kept[0]} if kept else {}
        if name not in self._running:
            return own
        norm, site = self._running[name], self._sites[name]
        moments = self._averages.of(norm, copies)
        if "train.var" in moments:
            values = torch.tensor(self._samples, dtype=torch.float64)[:, None] * site.positions
            moments["train.var"] = moments["train.var"] * ((values - 1) / values).to(copies.dtype)
        moments |= {f"train.{key}": values for key, values in own.items()}
        if site.time_steps is None:
            return moments
        return {key: values.unflatten(1, (site.time_steps, -1)) for key, values in moments.items()}


def _first(rows: int, series: dict[str, Array]) -> dict[str, Array]:
    return {name: values[:rows] for name, values in series.items()}
