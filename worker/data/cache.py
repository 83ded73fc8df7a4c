"""Decoded data sets as memory-mapped files: decoded once, shared by every job of the machine."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from db.datasets import DatasetInfo
from worker.data.arrays import Arrays
from worker.data.sources import find_source
from worker.errors import DataError

Type = np.dtype[Any]
Shape = tuple[int, ...]

#: Raise when what an entry holds changes.
LAYOUT = 1


@dataclass(frozen=True, kw_only=True)
class CachedData:
    """A decoded data set, mapped from files, and the sha256 of its contents."""

    arrays: Arrays
    digest: str


def load(info: DatasetInfo, *, binarize: bool, data_dir: Path, cache: Path) -> CachedData:
    """The data set from the cache; decoded into it first if it is not there.

    Raises:
        DataError: the data cannot be found or is not what the catalogue says.
    """
    source = find_source(info, data_dir, cache / "hub")
    key = hashlib.sha256(f"{LAYOUT} {source.fingerprint}".encode()).hexdigest()[:16]
    entry = cache / f"{info.name}-{key}{'-binary' if binarize else ''}"
    if not entry.exists():
        entry.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{entry}.lock"):
            if not entry.exists():
                if binarize:
                    plain = load(info, binarize=False, data_dir=data_dir, cache=cache)
                    arrays = _binarized(plain.arrays, info.threshold)
                else:
                    arrays = source.load()
                    _check(arrays, info)
                _write(arrays, entry)
    return _map(entry)


def _binarized(arrays: Arrays, threshold: int) -> Arrays:
    """Inputs of 0 and 1: at least `threshold` becomes 1."""
    return Arrays(
        train_inputs=(arrays.train_inputs >= threshold).astype(np.uint8),
        train_targets=arrays.train_targets,
        test_inputs=(arrays.test_inputs >= threshold).astype(np.uint8),
        test_targets=arrays.test_targets,
    )


def _check(arrays: Arrays, info: DatasetInfo) -> None:
    for found, expected in _differences(arrays, info):
        hint = (
            f"Replace the files by those of {info.hub_name}." if info.hub_name else f"Its source: {info.source}."
        )
        raise DataError(f"Data set '{info.name}' has {found}; expected: {expected}.", hint)


def _differences(arrays: Arrays, info: DatasetInfo) -> Iterator[tuple[str, str]]:
    """What is found that is not what the catalogue says, and what the catalogue says."""
    samples = len(arrays.train_targets), len(arrays.test_targets)
    if samples != (info.train_samples, info.test_samples):
        yield _samples(*samples), _samples(info.train_samples, info.test_samples)
    train, test = (arrays.train_inputs, arrays.train_targets), (arrays.test_inputs, arrays.test_targets)
    for inputs, targets in (train, test):
        found = _form(inputs.dtype, inputs.shape, targets.dtype, targets.shape)
        expected = _expected_form(info, len(targets))
        if found != expected:
            yield found, expected
        yield from _differing_values("inputs", inputs, info.largest_value)
        yield from _differing_values("targets", targets, None if info.classes is None else info.classes - 1)


def _differing_values(name: str, values: NDArray[Any], largest: int | None) -> Iterator[tuple[str, str]]:
    """Values from 0 to a largest one, or where there is none, finite numbers."""
    least, most = values.min(), values.max()
    if largest is None and not np.isfinite([least, most]).all():
        yield f"{name} that are not finite", "finite ones"
    if largest is not None and not (0 <= least and most <= largest):
        yield f"{name} from {least} to {most}", f"0 to {largest}"


def _expected_form(info: DatasetInfo, samples: int) -> str:
    pixels, classes = info.largest_value is not None, info.classes is not None
    return _form(
        np.dtype(np.uint8 if pixels else np.float32),
        (samples, *info.shape),
        np.dtype(np.int64 if classes else np.float32),
        (samples,) if classes else (samples, info.outputs),
    )


def _form(inputs: Type, inputs_shape: Shape, targets: Type, targets_shape: Shape) -> str:
    return f"{inputs} inputs of shape {inputs_shape} and {targets} targets of shape {targets_shape}"


def _samples(train: int, test: int) -> str:
    return f"{train} training and {test} test samples"


def _write(arrays: Arrays, entry: Path) -> None:
    """Write an entry so that it appears whole or not at all."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    try:
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array)
        (temporary / "meta.json").write_text(json.dumps({"sha256": arrays.digest()}))
        temporary.rename(entry)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _map(entry: Path) -> CachedData:
    # Copy-on-write: pages are shared with every other process, and torch gets memory that it may call writable.
    names = Arrays.__dataclass_fields__
    arrays = Arrays(**{name: np.load(entry / f"{name}.npy", mmap_mode="c") for name in names})
    return CachedData(arrays=arrays, digest=json.loads((entry / "meta.json").read_text())["sha256"])
