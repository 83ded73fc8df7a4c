"""The record of norms that keep running averages: their moments in each mode, drift and noise."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.norms.base import RunningNorm
from models.norms.running import RunningAverages
from models.shapes import Site
from worker.columns import Columns
from worker.window import batches_in_parts, batches_of, biased, drift_and_noise


class RunningSites:
    """Keeps the moments of all norms together, one small copy for each of the last `window` batches.

    With a window of 1 only moments are recorded, otherwise drift and noise too.
    """

    def __init__(
        self, norms: Mapping[str, RunningNorm], sites: Mapping[str, Site], averages: RunningAverages, window: int
    ) -> None:
        self.window = window
        self._norms = norms
        self._sites = sites
        self._averages = averages
        # Asked once: the others need nothing but the copy of all averages together.
        self._apart = {name for name, norm in norms.items() if norm.latest_batches(2) is not None}
        self._samples: list[int] = []
        self._copies: list[Tensor] = []
        self._parts: dict[str, list[tuple[list[int], Tensor]]] = {name: [] for name in self._apart}
        self._ends: list[int] = []

    def observe(self, samples: int) -> None:
        """Keep the moments of a batch."""
        if not self._norms:
            return
        self._samples.append(samples)
        self._copies.append(self._averages.copy())
        for name, parts in self._parts.items():
            found = self._norms[name].latest_batches(samples * self._sites[name].positions)
            if found is not None:
                parts.append(found)

    def take(self) -> None:
        """The latest batch is the last one of a recorded step."""
        self._ends.append(len(self._samples) - 1)

    def flush(self) -> dict[str, Columns]:
        """The columns of each site since the last flush; batches that later windows may hold stay."""
        if not self._norms:
            return {}
        copies = torch.stack(self._copies).cpu()
        samples = torch.tensor(self._samples, dtype=torch.float64)
        columns = {name: self._columns(name, copies, samples) for name in self._norms}
        old = max(0, len(self._copies) - self.window + 1)
        self._samples, self._copies = self._samples[old:], self._copies[old:]
        self._parts = {name: parts[old:] for name, parts in self._parts.items()}
        self._ends = []
        return columns

    def state_dict(self) -> dict[str, Any]:
        """The batches that later windows may hold; nothing may wait for a flush."""
        return {
            "samples": list(self._samples),
            "copies": list(self._copies),
            "parts": {
                name: [[list(counts), each] for counts, each in found] for name, found in self._parts.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        device = self._averages.copy().device
        self._samples = list(state["samples"])
        self._copies = [each.to(device) for each in state["copies"]]
        self._parts = {
            name: [(list(counts), each.to(device)) for counts, each in found]
            for name, found in state["parts"].items()
        }

    def _columns(self, name: str, copies: Tensor, samples: Tensor) -> Columns:
        """Of one norm. copies: (batches, 2, values); samples: of each batch."""
        norm, site = self._norms[name], self._sites[name]
        values = samples * site.positions
        moments = self._averages.of(norm, copies)
        apart = batches_in_parts(self._parts[name]) if name in self._apart else None
        found = {column: each[self._ends] for column, each in moments.items()}
        if apart is not None:
            normalized_by = apart.normalized_by()
            found |= {f"train.{moment}": normalized_by[moment][self._ends] for moment in norm.MOMENTS}
        elif "train.var" in found:
            # Scratch buffers have the unbiased one; what normalized is the biased one.
            found["train.var"] = found["train.var"] * biased(values)[self._ends].to(copies.dtype)
        if self.window > 1:
            batches = apart or batches_of(norm, _of_mode("train", moments), values)
            stored = _of_mode("eval", {column: each[self._ends] for column, each in moments.items()})
            found |= drift_and_noise(norm, batches, stored, self._ends) if batches else {}
        return {column: self._shaped(site, each.to(copies.dtype)).numpy() for column, each in found.items()}

    def _shaped(self, site: Site, rows: Tensor) -> Tensor:
        """(rows, values) as (rows, time steps, values) where a recurrent layer has them."""
        return rows if site.time_steps is None else rows.unflatten(1, (site.time_steps, -1))


def _of_mode(mode: str, moments: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The moments of one mode by their own names, in float64."""
    prefix = f"{mode}."
    return {name.removeprefix(prefix): each.double() for name, each in moments.items() if name.startswith(prefix)}
