"""How fast a run is."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Speed:
    """Samples per second of training, without the time of evaluations and probes."""

    def __init__(self) -> None:
        self._samples = 0
        self._started = time.monotonic()

    def count(self, samples: int) -> None:
        """Samples of one more step."""
        self._samples += samples

    def samples_per_second(self) -> float:
        """The mean since the start of the run."""
        return self._samples / max(1e-9, time.monotonic() - self._started)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time in this block does not count."""
        began = time.monotonic()
        yield
        self._started += time.monotonic() - began
