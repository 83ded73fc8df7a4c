"""The cache of decoded data: written once, whole, and mapped from then on."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from db.datasets import DATASETS, DatasetName
from worker.data import cache
from worker.data.arrays import Arrays
from worker.data.cache import CachedData

INFO = DATASETS[DatasetName.DIGITS]


def load(folder: Path, *, binarize: bool = False) -> CachedData:
    return cache.load(INFO, binarize=binarize, data_dir=folder / "data", cache=folder / "cache")


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "cache").iterdir() if path.is_dir())


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every file of the cache."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (folder / "cache").rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_digits_are_what_the_catalogue_says(tmp_path):
    arrays = load(tmp_path).arrays
    assert arrays.train_inputs.shape == (1437, *INFO.shape)
    assert arrays.test_inputs.shape == (360, *INFO.shape)
    assert (arrays.train_inputs.dtype, arrays.train_targets.dtype) == (np.uint8, np.int64)
    assert arrays.train_inputs.max() == INFO.largest_value
    values = arrays.train_inputs / INFO.largest_value
    assert values.mean().round(4) == INFO.mean[0]
    assert values.std().round(4) == INFO.std[0]
    counts = np.bincount(arrays.test_targets, minlength=10)
    assert (counts >= 35).all()
    assert counts.sum() == 360
    images = {each.tobytes() for each in [*arrays.train_inputs, *arrays.test_inputs]}
    assert len(images) == 1797  # no sample is in both parts


def test_a_second_load_maps_the_same_files(tmp_path):
    first = load(tmp_path)
    before = files(tmp_path)
    second = load(tmp_path)
    assert files(tmp_path) == before
    assert second.digest == first.digest
    for (name, one), (_, other) in zip(first.arrays.items(), second.arrays.items(), strict=True):
        assert isinstance(one, np.memmap), name
        assert one.filename == other.filename
        np.testing.assert_array_equal(one, other)


def test_a_write_to_the_mapped_arrays_does_not_reach_the_files(tmp_path):
    first = load(tmp_path)
    value = int(first.arrays.train_inputs[0, 0, 0, 0])
    first.arrays.train_inputs[0, 0, 0, 0] = value + 1
    assert load(tmp_path).arrays.train_inputs[0, 0, 0, 0] == value


def test_the_binarized_variant_is_an_entry_of_its_own(tmp_path):
    plain, binary = load(tmp_path), load(tmp_path, binarize=True)
    assert len(entries(tmp_path)) == 2
    assert set(np.unique(binary.arrays.train_inputs)) == {0, 1}
    np.testing.assert_array_equal(binary.arrays.train_inputs, plain.arrays.train_inputs >= 8)
    np.testing.assert_array_equal(binary.arrays.test_inputs, plain.arrays.test_inputs >= 8)
    np.testing.assert_array_equal(binary.arrays.train_targets, plain.arrays.train_targets)
    assert binary.digest != plain.digest


def test_the_digest_is_that_of_the_contents_and_the_same_in_every_cache(tmp_path, digits):
    found = load(tmp_path)
    assert found.digest == found.arrays.digest() == digits.digest
    changed = {name: np.array(array) for name, array in found.arrays.items()}
    changed["train_targets"][3] += 1
    assert Arrays(**changed).digest() != found.digest
    reshaped = {name: np.array(array) for name, array in found.arrays.items()}
    reshaped["train_inputs"] = reshaped["train_inputs"].reshape(1437, 64, 1, 1)
    assert Arrays(**reshaped).digest() != found.digest


def test_an_entry_that_a_crash_left_half_written_does_not_count(tmp_path):
    whole = load(tmp_path)
    (entry,) = entries(tmp_path)
    half = entry.with_name(f".{entry.name}-abc123")
    half.mkdir()
    (half / "train_inputs.npy").write_bytes((entry / "train_inputs.npy").read_bytes()[:1000])
    for path in entry.iterdir():
        path.unlink()
    entry.rmdir()
    assert load(tmp_path).digest == whole.digest
    assert load(tmp_path, binarize=True).arrays.train_inputs.shape == whole.arrays.train_inputs.shape


LOAD = """
import sys
from pathlib import Path
from db.datasets import DATASETS, DatasetName
from worker.data import cache
import sklearn.datasets, sklearn.model_selection  # what the other process has imported already
print("ready", flush=True)
sys.stdin.readline()
folder = Path(sys.argv[1])
found = cache.load(DATASETS[DatasetName.DIGITS], binarize=True, data_dir=folder / "data", cache=folder / "cache")
print(found.digest, found.arrays.train_inputs.sum())
"""


def test_two_processes_that_load_at_once_get_the_same_whole_data(tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    other = subprocess.Popen([sys.executable, "-c", LOAD, str(tmp_path)], **pipes)
    assert other.stdout.readline() == "ready\n"
    other.stdin.write("go\n")
    other.stdin.flush()
    found = load(tmp_path, binarize=True)
    expected = f"{found.digest} {found.arrays.train_inputs.sum()}\n"
    assert other.communicate() == (expected, "")
    assert len(entries(tmp_path)) == 2
    assert found.arrays.train_inputs.sum() > 0


@pytest.mark.parametrize("binarize", [False, True])
def test_nothing_but_entries_and_locks_stays_in_the_cache(tmp_path, binarize):
    load(tmp_path, binarize=binarize)
    names = [path.name for path in (tmp_path / "cache").iterdir()]
    assert all(name.startswith("digits-") for name in names)
