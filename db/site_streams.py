"""The streams that hold what is known of one site, and the end at which they are written.

Rows of recorded steps: `channels` (every channel), `summary` (mean, least and greatest over the channels, so that
the usual read is small), `layer` (one number a step) and `percentiles` (the units that the job names); they share
their chunk boundaries. Rows of evaluations, which have steps of their own: `population` and
`population_summary`.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np

from db import chunks
from db.chunks import ChunkWriter
from db.frames import Floats, Frame, capacity
from db.lease import Hold

#: Group of the columns that have one number a step.
LAYER = "layer"
#: Shares of the values of a channel that are 0: a channel that is 0 in the whole batch is dead.
ZERO = "activation.zero"
DEAD = "activation.dead"


class View(StrEnum):
    """The part of a site's numbers that one stream holds."""

    CHANNELS = "channels"
    SUMMARY = "summary"
    LAYER = "layer"
    PERCENTILES = "percentiles"
    POPULATION = "population"
    POPULATION_SUMMARY = "population_summary"

    def of(self, site: str) -> str:
        """The name of the stream."""
        return f"{site}/{self.value}"


def site_and_view(stream: str) -> tuple[str, View]:
    """What a stream holds."""
    site, _, view = stream.rpartition("/")
    return site, View(view)


class SiteWriter:
    """The streams of one site, as the attempt that writes them holds them; `chunks.write` stores them."""

    def __init__(self, hold: Hold, site: str) -> None:
        self._hold = hold
        self._site = site
        self._writers: dict[View, ChunkWriter] = {}
        self._rows = 0
        #: The last recorded step that has been added.
        self.last_step = 0

    @property
    def streams(self) -> Sequence[ChunkWriter]:
        """Those that have got rows."""
        return list(self._writers.values())

    def add(self, steps: Sequence[int], moments: Mapping[str, Floats], percentiles: Mapping[str, Floats]) -> None:
        """Recorded steps.

        moments: name to (rows, values) or (rows, time steps, values), of a layer to (rows); percentiles: name to
        (rows, units).
        """
        self.last_step = steps[-1]
        values = {name: rows for name, rows in moments.items() if not name.startswith(f"{LAYER}.")}
        of_layer = {name: rows for name, rows in moments.items() if name not in values}
        self._rows = self._rows or capacity(_row_bytes(values))
        self._put(View.CHANNELS, steps, values, self._rows)
        self._put(View.SUMMARY, steps, summary_over_channels(values), self._rows)
        self._put(View.LAYER, steps, of_layer, self._rows)
        self._put(View.PERCENTILES, steps, percentiles, self._rows)

    def add_population(self, step: int, values: Mapping[str, Floats]) -> None:
        """What an evaluation found: name to (values) or (time steps, values)."""
        rows = {name: np.asarray(found)[None] for name, found in values.items()}
        size = capacity(_row_bytes(rows))
        self._put(View.POPULATION, [step], rows, size)
        self._put(View.POPULATION_SUMMARY, [step], summary_over_channels(rows), size)

    def _put(self, view: View, steps: Sequence[int], columns: Mapping[str, Floats], rows: int) -> None:
        if not columns:
            return
        if view not in self._writers:
            self._writers[view] = ChunkWriter(self._hold, chunks.STATISTICS, view.of(self._site), rows)
        self._writers[view].add(Frame.of(steps, columns))


def _row_bytes(columns: Mapping[str, Floats]) -> int:
    return sum(values[0].nbytes for values in columns.values())


def summary_over_channels(columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """Mean, least and greatest of each column over its last dimension, and the share of dead channels.

    The mean is that of the finite ones: one channel that does not vary has an infinite drift, which least and
    greatest show.
    """
    summary: dict[str, Floats] = {}
    for name, values in columns.items():
        summary[f"{name}.mean"] = _finite_mean(values)
        summary[f"{name}.min"] = values.min(axis=-1)
        summary[f"{name}.max"] = values.max(axis=-1)
    if ZERO in columns:
        summary[DEAD] = (columns[ZERO] == 1).mean(axis=-1, dtype=columns[ZERO].dtype)
    return summary


def _finite_mean(values: Floats) -> Floats:
    finite = np.isfinite(values)
    if finite.all():
        # In float64: a sum of large numbers may be too large for the type that they have.
        means: Floats = values.mean(axis=-1, dtype=np.float64)
    else:
        count, total = finite.sum(axis=-1), np.where(finite, values, 0).sum(axis=-1, dtype=np.float64)
        means = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return means.astype(values.dtype, copy=False)
