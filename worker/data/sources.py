"""Where data sets come from: a Python package, a folder laid out as the hub lays it out, or the hub itself."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.datasets import GROUP, DatasetInfo, DatasetName, DatasetPlugin, dataset_plugins
from worker.data.arrays import Arrays
from worker.errors import DataError

#: Files by which a folder is recognized as a data set.
DATA_FILES = ("*.parquet", "*.arrow", "*.csv", "*.json", "*.jsonl")

#: Seconds to wait for the hub's first answer.
HUB_TIMEOUT = 10.0


@dataclass(frozen=True, kw_only=True)
class Source:
    """How to get a data set. `fingerprint` changes whenever what `load` gives may have changed."""

    fingerprint: str
    load: Callable[[], Arrays]


def find_source(info: DatasetInfo, data_dir: Path, hub_cache: Path) -> Source:
    """The source of a data set: bundled, drawn, of an installed package, in `data_dir`, or on the hub."""
    if info.name == DatasetName.DIGITS:
        return Source(fingerprint="scikit-learn load_digits, split 1", load=_load_digits)
    if info.name == DatasetName.GAUSSIAN_LINEAR:
        return Source(fingerprint="gaussian_linear 1", load=_draw_gaussian_linear)
    if plugin := dataset_plugins().get(info.name):
        return _installed(plugin)
    folder = data_dir / info.name
    files = sorted(path for pattern in DATA_FILES for path in folder.rglob(pattern))
    if files:
        stats = [(str(path.relative_to(folder)), path.stat()) for path in files]
        fingerprint = repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
        return Source(fingerprint=fingerprint, load=lambda: _load_hub(info, str(folder), folder, hub_cache))
    return Source(
        fingerprint=f"hub {info.hub_name}",
        load=lambda: _load_hub(info, info.hub_name or "", folder, hub_cache),
    )


def _installed(plugin: DatasetPlugin) -> Source:
    """The data set of an installed package, made anew when the package's version changes."""
    (point,) = entry_points(group=GROUP, name=plugin.info.name)
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "a package"
    return Source(fingerprint=f"{package} {plugin.load}", load=lambda: _load_installed(plugin, package))


def _load_installed(plugin: DatasetPlugin, package: str) -> Arrays:
    module, _, function = plugin.load.partition(":")
    try:
        arrays = getattr(import_module(module), function)()
    except Exception as error:  # whatever the package's own code raises
        raise DataError(
            f"Data set '{plugin.info.name}' could not be made by {package} ({type(error).__name__}).",
            f"Ask those who keep {package}; its function is {plugin.load}.",
        ) from error
    if not isinstance(arrays, Arrays):
        raise DataError(
            f"Data set '{plugin.info.name}' of {package} is a {type(arrays).__name__}; Arrays were expected.",
            f"Ask those who keep {package}: {plugin.load} has to return worker.data.arrays.Arrays.",
        )
    return arrays


def _load_digits() -> Arrays:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = digits.images.astype(np.uint8)[:, None]
    train, test = train_test_split(np.arange(len(images)), test_size=360, random_state=0, stratify=digits.target)
    targets = digits.target.astype(np.int64)
    return Arrays(
        train_inputs=images[train],
        train_targets=targets[train],
        test_inputs=images[test],
        test_targets=targets[test],
    )


def _draw_gaussian_linear() -> Arrays:
    """Ten numbers x ~ N(0, I), and y = A x with A's entries ~ N(0, 1). Santurkar et al. 2018, arXiv 1805.11604."""
    # Not default_rng, whose numbers may change with numpy's version.
    random = np.random.RandomState(0)
    matrix, inputs = random.standard_normal((10, 10)), random.standard_normal((2000, 10))
    # Not a matrix product, whose order of summation is the machine's.
    targets = sum(inputs[:, [column]] * matrix[:, column] for column in range(10))
    x, y = inputs.astype(np.float32)[:, :, None, None], np.asarray(targets, dtype=np.float32)
    return Arrays(train_inputs=x[:1000], train_targets=y[:1000], test_inputs=x[1000:], test_targets=y[1000:])


def _load_hub(info: DatasetInfo, path: str, folder: Path, hub_cache: Path) -> Arrays:
    """Decode what the `datasets` library finds at `path`, a folder or a name on the hub."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets
    from huggingface_hub import HfApi

    datasets.disable_progress_bars()
    try:
        if path == info.hub_name and not datasets.config.HF_HUB_OFFLINE:
            # One quick question first: the library itself tries for half a minute before it gives up.
            HfApi().dataset_info(path, timeout=HUB_TIMEOUT)
        splits = datasets.load_dataset(path, cache_dir=str(hub_cache))
        parts = {split: _decode(splits[split], info) for split in ("train", "test")}
    except Exception as error:  # the library raises whatever its readers and the network do
        where = f"the hub's {path}" if path == info.hub_name else f"the files in {folder}"
        raise DataError(
            f"Data set '{info.name}' could not be read from {where} ({type(error).__name__}).",
            f"Put its files into {folder} as the hub lays them out (train-*.parquet and test-*.parquet of "
            f"{info.hub_name}), set NORMLAB_DATA_DIR to the folder that holds {folder.name}/, or give the "
            "worker access to the hub.",
        ) from error
    (train_inputs, train_targets), (test_inputs, test_targets) = parts["train"], parts["test"]
    return Arrays(
        train_inputs=train_inputs,
        train_targets=train_targets,
        test_inputs=test_inputs,
        test_targets=test_targets,
    )


def _decode(split: Any, info: DatasetInfo) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    channels, height, width = info.shape
    inputs = np.empty((len(split), channels, height, width), dtype=np.uint8)
    for row, image in enumerate(split[info.image_column]):
        inputs[row] = np.asarray(image, dtype=np.uint8).reshape(height, width, channels).transpose(2, 0, 1)
    return inputs, np.asarray(split["label"], dtype=np.int64)
