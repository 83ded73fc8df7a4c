"""What every probe is given and gives, and when they are due."""

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from worker.objective import Objective

#: Numbers of one measurement by name; those of a layer are named `layer/number`.
Values = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class State:
    """One optimizer step, seen from outside."""

    #: A copy of the model before the step, in train mode: the probe's own.
    before: nn.Module
    #: The model after the step, not to be touched.
    after: nn.Module
    #: The step's batch, or the last of them.
    inputs: Tensor
    targets: Tensor
    lr: float
    objective: Objective


class Probe(Protocol):
    """A measurement."""

    name: str
    every: int

    def measure(self, state: State) -> Values:
        """The numbers of one step. Global generators are the caller's to restore."""


@dataclass(frozen=True, kw_only=True)
class ProbeRow:
    """What one probe measured at one step; `seconds` is what that took."""

    name: str
    step: int
    values: Values


class Probes:
    """The probes of a run."""

    def __init__(self, probes: Sequence[Probe] = ()) -> None:
        self._probes = probes
        self._rows: list[ProbeRow] = []

    def copy(self, step: int, model: nn.Module) -> nn.Module | None:
        """The model as it is before a step that is probed; none if it is not."""
        return deepcopy(model) if any(step % probe.every == 0 for probe in self._probes) else None

    def measure(self, step: int, state: State) -> None:
        """Let every probe that is due measure."""
        for probe in self._probes:
            if step % probe.every == 0:
                began = time.monotonic()
                values = probe.measure(state)
                self._rows.append(
                    ProbeRow(name=probe.name, step=step, values=values | {"seconds": time.monotonic() - began})
                )

    def flush(self) -> list[ProbeRow]:
        """What has been measured since the last flush."""
        rows, self._rows = self._rows, []
        return rows
