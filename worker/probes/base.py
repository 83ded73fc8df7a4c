"""What every probe is given and gives, and when they are due."""

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from worker.objective import Objective

#: Numbers of one measurement by name; those of a layer are named `layer/number`. A number that is not finite is
#: recorded as it is: a probe says what it found.
Values = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class State:
    """One optimizer step, seen from outside."""

    #: A copy of the model before the step, in train mode. A probe leaves it as it was, for the next one, but for
    #: the scratch buffers of norms.
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

    @property
    def name(self) -> str:
        """As the spec has it; no two of a run are the same."""

    @property
    def every(self) -> int:
        """Steps between two measurements."""

    def measure(self, state: State) -> Values:
        """The numbers of one step; moves no global generator."""


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
        if not self._probes or all(step % probe.every for probe in self._probes):
            return None
        return deepcopy(model)

    def measure(self, step: int, state: State) -> None:
        """Let every probe that is due measure."""
        for probe in self._probes:
            if step % probe.every == 0:
                if state.inputs.is_cuda:
                    # Or what is left of the step's own work would count as the probe's.
                    torch.cuda.synchronize(state.inputs.device)
                began = time.monotonic()
                values = probe.measure(state)
                values = values | {"seconds": time.monotonic() - began}
                self._rows.append(ProbeRow(name=probe.name, step=step, values=values))

    def flush(self, *, last_step: int | None = None) -> list[ProbeRow]:
        """What has been measured since the last flush, with `last_step` nothing after it."""
        rows, self._rows = self._rows, []
        return [row for row in rows if last_step is None or row.step <= last_step]
