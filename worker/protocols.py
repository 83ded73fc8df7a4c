"""What the loop asks of the parts that it does not know."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from worker.snapshot import Snapshot

Series = Mapping[str, NDArray[np.floating]]


class Stateful(Protocol):
    """A part of a run whose state a checkpoint holds: tensors and plain values."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Any, /) -> Any: ...


class Reporter(Protocol):
    """Where a run's numbers go. No call waits for a disk or a network, but for room for a checkpoint."""

    def first_step(self) -> None:
        """The first optimizer step is done."""

    def progress(self, step: int, epoch: int, samples_per_second: float) -> None:
        """How far the run is, and how fast."""

    def metrics(self, stream: str, steps: Sequence[int], series: Series) -> None:
        """Rows of series that share their steps."""

    def statistics(self, site: str, steps: Sequence[int], moments: Series, percentiles: Series) -> None:
        """Rows of one site: name to (rows, values) or (rows, time steps, values), and to (rows, units)."""

    def population(self, site: str, step: int, values: Mapping[str, NDArray[np.floating]]) -> None:
        """What an evaluation found at one site: name to (values) or (time steps, values)."""

    def probe(self, name: str, step: int, values: Mapping[str, float]) -> None:
        """What one probe measured at one step."""

    def takes_checkpoint(self, *, needed: bool = False) -> bool:
        """Whether there is room for another state; asked before each is copied. For a needed one it waits."""

    def checkpoint(self, snapshot: Snapshot) -> None:
        """A state to keep."""
