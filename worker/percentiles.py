"""Percentiles of what some units of a site gave: kept on the device, sorted for many steps at once."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.norms.base import widened

#: Values of one site that may wait to be sorted: sorting step by step costs several times as much.
PENDING_VALUES = 2**20


class OutputPercentiles:
    """Percentiles over a mini-batch (and its positions) of chosen units of one site. units: channel indices."""

    def __init__(self, units: Tensor, percentiles: Sequence[float]) -> None:
        self._units = units
        self._names = [f"{percentile:g}" for percentile in percentiles]
        self._quantiles = torch.tensor([p / 100 for p in percentiles], device=units.device, dtype=torch.float64)
        self._sorted: list[Tensor] = []
        self._pending: list[Tensor] = []
        self._pending_values = 0

    def take(self, output: Tensor) -> None:
        """Keep a step. output: (N, C) or (N, C, *)."""
        chosen = widened(output.index_select(1, self._units).movedim(1, -1).flatten(0, -2))
        self._pending.append(chosen)
        self._pending_values += chosen.numel()
        if self._pending_values >= PENDING_VALUES:
            self._sort()

    def flush(self) -> dict[str, NDArray[np.floating]]:
        """Percentile to (steps since the last flush, units), on the host."""
        self._sort()
        table = torch.cat(self._sorted).cpu().numpy()
        self._sorted = []
        return {name: table[:, row] for row, name in enumerate(self._names)}

    def _sort(self) -> None:
        for _, same in groupby(self._pending, key=len):  # a ragged last batch stands alone
            steps = torch.stack(list(same))
            quantiles = self._quantiles.to(steps.dtype)
            # Unit by unit: torch.quantile takes at most 2**24 values.
            units = [torch.quantile(unit, quantiles, dim=1).T for unit in steps.unbind(2)]
            self._sorted.append(torch.stack(units, dim=2))
        self._pending = []
        self._pending_values = 0
