"""Everything that runs report, compared bit for bit."""

from collections.abc import Iterator

import numpy as np
import torch

from tests.worker.support import Kept

#: What differs from run to run: times.
TIMES = ("samples_per_second", "seconds")


def numbers(*parts: Kept) -> dict[str, dict[int, np.ndarray]]:
    """By name and step; no step of a name may come twice."""
    found: dict[str, dict[int, np.ndarray]] = {}
    for kept in parts:
        for name, step, value in (*_series(kept), *_sites(kept), *_findings(kept)):
            if name.rpartition("/")[2] not in TIMES:
                rows = found.setdefault(name, {})
                assert step not in rows, f"{name} has step {step} twice"
                rows[step] = np.asarray(value)
    return found


Row = tuple[str, int, object]


def _series(kept: Kept) -> Iterator[Row]:
    for stream, blocks in kept.streams.items():
        for steps, series in blocks:
            yield from _rows(stream, steps, series)


def _sites(kept: Kept) -> Iterator[Row]:
    for site, blocks in kept.sites.items():
        for steps, moments, percentiles in blocks:
            yield from _rows(site, steps, moments | percentiles)


def _findings(kept: Kept) -> Iterator[Row]:
    for kind, places in (("population", kept.populations), ("probe", kept.probes)):
        for place, rows in places.items():
            for step, values in rows:
                yield from ((f"{kind}/{place}/{name}", step, value) for name, value in values.items())


def _rows(place: str, steps, columns) -> Iterator[Row]:
    for name, values in columns.items():
        yield from ((f"{place}/{name}", step, value) for step, value in zip(steps, values, strict=True))


def assert_same(one, other, path: str = "") -> None:
    """Bit for bit; NaN is like NaN."""
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key, value in one.items():
            assert_same(value, other[key], f"{path}/{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for index, (each, its) in enumerate(zip(one, other, strict=True)):
            assert_same(each, its, f"{path}/{index}")
    elif isinstance(one, torch.Tensor):
        assert_same(one.numpy(), other.numpy(), path)
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other, err_msg=path)
    else:
        assert one == other, path
