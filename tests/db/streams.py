"""Streams of numbers to write, and what a reader should find of them."""

from collections.abc import Iterable, Sequence

import numpy as np
from hypothesis import strategies as st

from db import chunks, metrics
from db.chunks import METRICS, ChunkWriter
from db.engine import Database
from db.frames import Frame
from db.lease import Hold
from db.metrics import MetricsPage, MetricsQuery

#: Any number that a loss may be; not so large that a mean of some is beyond the largest float.
numbers = st.one_of(
    st.floats(-1e30, 1e30), st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf"), float("-inf")])
)


def rows_of(count: int, *, first_step: int = 1, every: int = 1, seed: int = 0, wild: bool = False) -> Frame:
    """Two columns of random numbers; `wild` ones are not all finite."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, 2))
    if wild:
        values[random.random(count) < 0.2, 0] = np.nan
        values[random.random(count) < 0.1, 1] = np.inf
        values[random.random(count) < 0.1, 1] = -np.inf
        values[count // 3 : count // 2] = np.nan  # long enough for runs without a finite value
    steps = first_step + every * np.arange(count)
    return Frame(columns=(("train/loss", 1), ("train/accuracy", 1)), steps=steps, values=values)


def flushes(frame: Frame, sizes: Iterable[int]) -> list[Frame]:
    """The frame cut into pieces of these sizes; the last piece holds the rest."""
    cuts = [cut for cut in np.cumsum([0, *sizes]).tolist() if cut < len(frame.steps)]
    ends = [*cuts[1:], len(frame.steps)]
    return [frame.take(slice(a, b)) for a, b in zip(cuts, ends, strict=True) if b > a]


def write(database: Database, writer: ChunkWriter, frames: Sequence[Frame]) -> None:
    """Each frame in a transaction of its own."""
    for frame in frames:
        writer.add(frame)
        with database.write() as session:
            chunks.write(session, [writer])
        writer.committed()


def write_stream(
    database: Database, hold: Hold, frame: Frame, *, capacity: int = 1024, sizes: Sequence[int] = ()
) -> ChunkWriter:
    writer = ChunkWriter(hold, METRICS, "train", capacity)
    write(database, writer, flushes(frame, sizes))
    return writer


def read(database: Database, job_id: str, **query) -> MetricsPage:
    with database.read() as session:
        return metrics.read(session, job_id, MetricsQuery(**query))


def read_all(database: Database, job_id: str, **query) -> list[MetricsPage]:
    """Every page from the first on, by its cursor."""
    pages = [read(database, job_id, **query)]
    while pages[-1].more:
        pages.append(read(database, job_id, **query | {"after": pages[-1].cursor}))
    return pages


def steps_of(pages: Sequence[MetricsPage]) -> list[int]:
    return [step for page in pages for step in page.series.get("train/loss", {"step": []})["step"]]


def assert_holds(pages: Sequence[MetricsPage], expected: Frame) -> None:
    """The pages hold these rows, each once and bit by bit."""
    assert steps_of(pages) == expected.steps.tolist()
    for name, _ in expected.columns:
        found = [value for page in pages for value in page.series.get(name, {"value": []})["value"]]
        np.testing.assert_array_equal(found, expected.column(name)[:, 0])


def assert_points_stand_for(page: MetricsPage, expected: Frame, most: int) -> None:
    """Each point tells least, greatest, mean and count of the finite values of its rows.

    A point's rows begin at its step and end before the next point's.
    """
    for name, _ in expected.columns:
        series = page.series[name]
        starts = np.searchsorted(expected.steps, series["step"])
        assert expected.steps[starts].tolist() == series["step"]
        assert 0 < len(starts) <= most
        assert starts[0] == 0
        parts = np.split(expected.column(name)[:, 0], starts[1:])
        known = [part[np.isfinite(part)] for part in parts]
        assert series["count"] == [len(part) for part in known]
        for key, function, tolerance in [("min", np.min, 0), ("max", np.max, 0), ("value", np.mean, 1e-12)]:
            wanted = [function(part) if len(part) else np.nan for part in known]
            np.testing.assert_allclose(series[key], wanted, rtol=tolerance, atol=tolerance)
