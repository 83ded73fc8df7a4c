"""Frames: rows of numbers by step, and the bytes that a chunk keeps of them.

A stream is a growing table of numbers: its rows are steps, its columns named and of a fixed width each. It is
stored as chunks of consecutive rows. Every chunk carries three resolutions: one header row for the whole chunk,
one digest row for each run of `DIGEST_ROWS` rows, and the rows themselves. A plot of a long stream reads the
coarsest that still has enough points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Steps = NDArray[np.int64]

#: Rows under one digest row.
DIGEST_ROWS = 64
#: Rows and bytes at which a chunk is full.
CHUNK_ROWS = 1024
CHUNK_BYTES = 1 << 18

Columns = tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Rows of one stream. values: (rows, total width of the columns)."""

    columns: Columns
    steps: Steps
    values: Floats

    def column(self, name: str) -> Floats:
        """The values of one column: (rows, width)."""
        start = 0
        for column, width in self.columns:
            if column == name:
                return self.values[:, start : start + width]
            start += width
        raise KeyError(name)

    @staticmethod
    def of(steps: Sequence[int] | Steps, columns: Mapping[str, Floats]) -> "Frame":
        """A frame of named arrays, each (rows,) or (rows, width)."""
        tables = {name: np.asarray(values).reshape(len(steps), -1) for name, values in columns.items()}
        return Frame(
            columns=tuple((name, table.shape[1]) for name, table in tables.items()),
            steps=np.asarray(steps, dtype=np.int64),
            values=np.concatenate(list(tables.values()), axis=1),
        )

    def take(self, rows: slice | NDArray[np.bool_]) -> "Frame":
        """Some of the rows."""
        return Frame(columns=self.columns, steps=self.steps[rows], values=self.values[rows])


def concatenate(frames: Sequence[Frame]) -> Frame:
    """Frames of the same columns as one."""
    return Frame(
        columns=frames[0].columns,
        steps=np.concatenate([frame.steps for frame in frames]),
        values=np.concatenate([frame.values for frame in frames]),
    )


def capacity(row_bytes: int) -> int:
    """Rows at which a chunk of such rows is full: whole digest rows where that many fit."""
    rows = min(CHUNK_ROWS, max(1, CHUNK_BYTES // max(1, row_bytes)))
    return rows - rows % DIGEST_ROWS if rows >= DIGEST_ROWS else rows


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Rows of a stream at a coarser resolution: each stands for a run of rows, finite values only.

    steps: (runs,) the first step of each run; low, high, mean: (runs, width); count: (runs, width), how many
    values were finite. Where none was, low, high and mean are NaN.
    """

    steps: Steps
    low: Floats
    high: Floats
    mean: Floats
    count: Floats

    def to_bytes(self) -> bytes:
        """Little-endian float64: (runs, 1 + 4 * width)."""
        parts = [self.steps[:, None].astype("<f8"), self.low, self.high, self.mean, self.count]
        return np.concatenate(parts, axis=1, dtype="<f8").tobytes()

    @staticmethod
    def from_bytes(data: bytes, width: int) -> "Summary":
        """The reverse of `to_bytes`."""
        table = np.frombuffer(data, dtype="<f8").reshape(-1, 1 + 4 * width)
        low, high, mean, count = np.split(table[:, 1:], 4, axis=1)
        return Summary(steps=table[:, 0].astype(np.int64), low=low, high=high, mean=mean, count=count)


def finest(frame: Frame) -> Summary:
    """One summary row for each row: (rows, width)."""
    values = frame.values.astype(np.float64)
    finite = np.isfinite(values)
    known = np.where(finite, values, np.nan)
    return Summary(steps=frame.steps, low=known, high=known, mean=known, count=finite.astype(np.float64))


def summarize(frame: Frame, starts: Sequence[int]) -> Summary:
    """One summary row for each run of rows that begins at one of `starts`."""
    runs = np.asarray(starts, dtype=np.int64)
    values = frame.values
    if not (len(values) and np.isfinite(values).all()):
        return merge(finest(frame), runs)
    # The usual case, at a third of the cost.
    sizes = np.diff(runs, append=len(values)).astype(np.float64)[:, None]
    return Summary(
        steps=frame.steps[runs],
        low=np.minimum.reduceat(values, runs, axis=0),
        high=np.maximum.reduceat(values, runs, axis=0),
        mean=np.add.reduceat(values, runs, axis=0, dtype=np.float64) / sizes,
        count=np.broadcast_to(sizes, (len(runs), values.shape[1])),
    )


def join(parts: Sequence[Summary]) -> Summary:
    """Summaries of consecutive rows as one."""
    return Summary(
        steps=np.concatenate([part.steps for part in parts]),
        low=np.concatenate([part.low for part in parts]),
        high=np.concatenate([part.high for part in parts]),
        mean=np.concatenate([part.mean for part in parts]),
        count=np.concatenate([part.count for part in parts]),
    )


def merge(summary: Summary, starts: NDArray[np.int64]) -> Summary:
    """A coarser summary: one row for each run of rows of `summary` that begins at one of `starts`."""
    if not len(summary.steps):
        return summary
    count = np.add.reduceat(summary.count, starts, axis=0)
    total = np.add.reduceat(np.where(summary.count > 0, summary.mean * summary.count, 0.0), starts, axis=0)
    return Summary(
        steps=summary.steps[starts],
        # fmin and fmax pass over NaN, which marks a run without a finite value.
        low=np.fmin.reduceat(summary.low, starts, axis=0),
        high=np.fmax.reduceat(summary.high, starts, axis=0),
        mean=np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0),
        count=count,
    )


def run_starts(rows: int, runs: int) -> NDArray[np.int64]:
    """The first rows of `runs` runs, as equal as can be, over `rows` rows."""
    return (np.arange(runs, dtype=np.int64) * rows) // runs
