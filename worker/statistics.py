"""What normalization did at each site: recorded on the device, read at a flush.

The moments of a norm that keeps running averages come from the scratch buffers that its own forward pass filled
and cost no second pass over the activations; where these hold something else than what normalized, as with the
chunks of ghost batch norm, the norm itself says it. Only in a recorded step is anything hooked: the output of the
units whose percentiles are wanted, the input of norms that keep nothing, which then compute their moments from it,
and what `worker.details` looks at.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from models.blueprint import Blueprint
from models.neighbours import neighbours
from models.norms.base import Normalization, RunningNorm
from models.norms.running import RunningAverages
from models.shapes import Site, sites
from worker.columns import Columns
from worker.details import Details
from worker.drift import drift
from worker.percentiles import OutputPercentiles
from worker.running import RunningSites
from worker.window import WINDOW

#: Recorded steps that may wait for a flush, and seconds: a flush costs some milliseconds, however few they are.
PENDING_STEPS, PENDING_SECONDS = 1000, 4.0

#: A forward pass: the model itself, or the model under autocast.
Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class SiteRows:
    """Rows of one site. moments: name to (rows, values), in a recurrent layer (rows, time steps, values).

    Columns of the layer before a site are of one number a step: (rows). percentiles: name to (rows, units).
    """

    site: str
    steps: list[int]
    moments: Columns
    percentiles: Columns


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be recorded. `units` names the channels of each site whose percentiles are wanted.

    Without `details` it is moments alone. `every` and `steps`, the last, are in optimizer steps of `accumulate`
    batches.
    """

    units: Mapping[str, Sequence[int]]
    percentiles: Sequence[float]
    details: bool
    every: int
    steps: int
    accumulate: int

    def is_recorded(self, step: int) -> bool:
        """Whether a step is: the first and the last always are."""
        return step % self.every == 0 or step in (1, self.steps)

    def window_before(self, step: int, batches: int) -> int:
        """The first step that has one of the last `batches` batches before the end of the next recorded step.

        That is `step` or the first one after it that is recorded.
        """
        following = step if step == 1 else min(-(-step // self.every) * self.every, self.steps)
        return following - (batches - 1) // self.accumulate


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
    """Train-mode and eval-mode moments of the sites of a model, and what else is wanted of them.

    All sites record the same steps. Where a step has several batches, the record is of the last one.
    """

    def __init__(
        self,
        model: nn.Module,
        blueprint: Blueprint,
        averages: RunningAverages,
        wanted: Wanted,
        learning_rate: Callable[[], float],
    ) -> None:
        device = next(model.parameters()).device
        self._sites = {site.name: site for site in sites(blueprint)}
        self._wanted = wanted
        norms = {name: norm_of(model, site) for name, site in self._sites.items()}
        running = {name: norm for name, norm in norms.items() if isinstance(norm, RunningNorm)}
        self._running = RunningSites(running, self._sites, averages, WINDOW if wanted.details else 1)
        self._percentiles = {
            name: OutputPercentiles(torch.tensor(list(chosen), device=device), wanted.percentiles)
            for name, chosen in wanted.units.items()
            if len(chosen) and len(wanted.percentiles) and wanted.details
        }
        self._watched = {
            name: _Watched(norm=norm)
            for name, norm in norms.items()
            if name in self._percentiles or name not in running
        }
        self._details = Details(model, norms, neighbours(blueprint), learning_rate) if wanted.details else None
        self._hooks = bool(self._watched) or wanted.details
        self._latest_samples = 0
        self._flushed_at = time.monotonic()
        #: Worked out once for each recorded step: the question is asked at every step.
        self._looks_from = self._wanted.window_before(1, self._running.window)
        self._clear({name: [] for name in norms if name not in running})

    def _clear(self, moments: dict[str, list[dict[str, Tensor]]]) -> None:
        self._steps: list[int] = []
        self._samples: list[int] = []
        self._moments = moments

    def is_recorded(self, step: int) -> bool:
        """Whether a step is to be recorded."""
        return self._wanted.is_recorded(step)

    def watch(self, forward: Forward, inputs: Tensor) -> Tensor:
        """The forward pass of a recorded step; keeps what `take` needs."""
        if not self._hooks:
            return forward(inputs)
        with ExitStack() as hooks:
            for watched in self._watched.values():
                watched.clear()
                hooks.callback(watched.norm.register_forward_hook(watched.keep).remove)
            if self._details is not None:
                self._details.hook(hooks)
            return forward(inputs)

    def observe(self, step: int, samples: int) -> None:
        """One batch of a step is through, and the running averages have moved."""
        self._latest_samples = samples
        if step >= self._looks_from:
            self._running.observe(samples)

    def take(self, step: int) -> None:
        """Record a step, before the optimizer moves the weights."""
        self._looks_from = self._wanted.window_before(step + 1, self._running.window)
        self._steps.append(step)
        self._samples.append(self._latest_samples)
        self._running.take()
        if self._hooks:
            self._take_hooked()

    @torch.no_grad()
    def _take_hooked(self) -> None:
        for name, moments in self._moments.items():
            moments.append(self._watched[name].moments())
        for name, percentiles in self._percentiles.items():
            percentiles.take(self._watched[name].output())
        if self._details is not None:
            self._details.take()
        for watched in self._watched.values():
            watched.clear()

    def is_full(self) -> bool:
        """Whether a flush is due."""
        return len(self._steps) >= PENDING_STEPS or time.monotonic() - self._flushed_at >= PENDING_SECONDS

    def flush(self, last_step: int | None = None) -> list[SiteRows]:
        """What has been recorded since the last flush, on the host; nothing beyond `last_step`."""
        self._flushed_at = time.monotonic()
        if not self._steps:
            return []
        steps = [step for step in self._steps if last_step is None or step <= last_step]
        details = {} if self._details is None else self._details.flush()
        running = self._running.flush()
        rows = []
        for name in self._sites:
            moments = running[name] if name in running else self._own(name)
            percentiles = self._percentiles[name].flush() if name in self._percentiles else {}
            rows.append(
                SiteRows(
                    site=name,
                    steps=steps,
                    moments=_leading(len(steps), moments | details.get(name, {})),
                    percentiles=_leading(len(steps), percentiles),
                )
            )
        self._clear({name: [] for name in self._moments})
        return rows if steps else []

    def state_dict(self) -> dict[str, Any]:
        """What later records look back at; nothing recorded may wait for a flush."""
        return {"looks_from": self._looks_from, "running": self._running.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._looks_from = state["looks_from"]
        self._running.load_state_dict(state["running"])

    def _own(self, name: str) -> Columns:
        """The moments of a site without running averages.

        Fixed statistics are compared with the batch, the only one that was looked at.
        """
        kept = self._moments[name]
        found = {column: torch.stack([each[column] for each in kept]).cpu() for column in kept[0]}
        if self._wanted.details and {"eval.mean", "eval.var"} <= found.keys():
            values = torch.tensor(self._samples, dtype=torch.float64) * self._sites[name].positions
            found |= _drift_of_fixed(found, values)
        return {column: each.numpy() for column, each in found.items()}


def _drift_of_fixed(moments: Mapping[str, Tensor], values: Tensor) -> dict[str, Tensor]:
    """Of stored moments from those of one batch, its variance unbiased. values: of a channel in each batch."""
    unbiased = (values / (values - 1)).view(-1, *[1] * (moments["train.var"].dim() - 1))
    stored_mean, stored_var, mean, var = (
        moments[column].double() for column in ("eval.mean", "eval.var", "train.mean", "train.var")
    )
    found = drift(stored_mean, stored_var, mean, var * unbiased)
    return {column: each.to(moments["train.var"].dtype) for column, each in found.items()}


def _leading(rows: int, columns: Columns) -> Columns:
    return {name: values[:rows] for name, values in columns.items()}
