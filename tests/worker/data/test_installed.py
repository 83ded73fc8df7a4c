"""Data sets of installed packages: made once for each version, and checked against what the package says."""

import sys
from pathlib import Path

import pytest

from db import datasets
from tests.packages import write_package
from worker.data import cache
from worker.data.cache import CachedData
from worker.errors import DataError

CODE = """
import numpy as np
from db.datasets import DatasetInfo, DatasetPlugin
from worker.data.arrays import Arrays

PLUGIN = DatasetPlugin(
    info=DatasetInfo(
        name="tiny", summary="", source="made up", shape=(1, 2, 2), outputs=2, train_samples=4, test_samples=2,
        largest_value=9, mean=(0.5,), std=(0.1,),
    ),
    load="tiny_data:load",
)

def load():
    inputs, targets = np.full((6, 1, 2, 2), 5, dtype=np.uint8), np.arange(6) % 2
    return Arrays(
        train_inputs=inputs[:4], train_targets=targets[:4], test_inputs=inputs[4:], test_targets=targets[4:]
    )
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a version of the package; the registry forgets what was installed before."""

    def forget() -> None:
        sys.modules.pop("tiny_data", None)
        datasets.dataset_plugins.cache_clear()
        datasets.datasets.cache_clear()

    def write(code: str, version: str = "1.0") -> None:
        site = tmp_path / version
        write_package(site, "tiny_data", code, {"normlab.datasets": {"tiny": "tiny_data:PLUGIN"}}, version)
        monkeypatch.syspath_prepend(site)
        forget()

    forget()
    yield write
    monkeypatch.undo()
    forget()


def load(folder: Path) -> CachedData:
    info = datasets.datasets()["tiny"]
    return cache.load(info, binarize=False, data_dir=folder / "data", cache=folder / "cache")


def test_a_packages_data_set_stands_beside_those_of_normlab(install):
    install(CODE)
    assert list(datasets.datasets()) == [*datasets.DATASETS, "tiny"]


def test_a_packages_data_are_made_once_for_each_version(install, tmp_path):
    install(CODE)
    first = load(tmp_path)
    assert first.arrays.train_inputs.shape == (4, 1, 2, 2)
    assert (first.arrays.train_inputs == 5).all()
    assert first.arrays.test_targets.tolist() == [0, 1]
    install(CODE.replace("), 5,", "), 7,"), "1.1")
    assert (load(tmp_path).arrays.train_inputs == 7).all()
    install(CODE.replace("def load", "def other"), "1.1.0")
    with pytest.raises(DataError):
        load(tmp_path)


def test_data_that_are_there_are_not_made_again(install, tmp_path):
    install(CODE)
    first = load(tmp_path)
    sys.modules["tiny_data"].load = None  # would fail if it were called
    assert load(tmp_path).digest == first.digest


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("    inputs, targets", "    raise OSError('disk')\n    inputs, targets", "tiny_data 1.0 (OSError)"),
        ('load="tiny_data:load"', 'load="tiny_data:laod"', "tiny_data 1.0 (AttributeError)"),
        ("    return Arrays(", "    return dict(", "is a dict"),
        ("np.full((6, 1, 2, 2)", "np.full((6, 2, 2)", "shape (4, 2, 2)"),
        ("dtype=np.uint8", "dtype=np.float32", "float32"),
        ("np.arange(6) % 2", "np.arange(6, dtype=np.int32) % 2", "int32"),
        ("), 5,", "), 10,", "inputs from 10 to 10; expected: 0 to 9"),
        ("np.arange(6) % 2", "np.arange(6) % 3", "targets from 0 to 2; expected: 0 to 1"),
        ("[:4]", "[:3]", "3 training and 2 test samples; expected: 4 training and 2 test samples"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_data_that_are_not_what_the_package_says_are_refused(install, tmp_path, old, new, reason):
    assert old in CODE
    install(CODE.replace(old, new))
    with pytest.raises(DataError) as refused:
        load(tmp_path)
    assert "'tiny'" in str(refused.value)
    assert reason in str(refused.value)
    assert refused.value.hint
    assert not list((tmp_path / "cache").glob("tiny-*/"))


NUMBERS = (
    CODE.replace("outputs=2,", "outputs=3, task='regression',")
    .replace("largest_value=9, ", "")
    .replace(
        "np.full((6, 1, 2, 2), 5, dtype=np.uint8)", "np.linspace(-5, 5, 24, dtype=np.float32).reshape(6, 1, 2, 2)"
    )
    .replace("np.arange(6) % 2", "np.ones((6, 3), dtype=np.float32)")
)


def test_a_packages_data_may_be_numbers_to_predict_from_numbers(install, tmp_path):
    install(NUMBERS)
    info = datasets.datasets()["tiny"]
    assert (info.task, info.outputs, info.classes) == ("regression", 3, None)
    arrays = load(tmp_path).arrays
    assert (arrays.train_inputs.min(), arrays.test_inputs.max()) == (-5, 5)
    assert arrays.train_targets.tolist() == [[1, 1, 1]] * 4


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("np.ones((6, 3)", "np.ones((6,)", "float32 targets of shape (4,); expected: float32 inputs"),
        ("np.ones((6, 3)", "np.ones((6, 2)", "targets of shape (4, 2)"),
        ("np.ones((6, 3), dtype=np.float32)", "np.ones((6, 3))", "float64 targets"),
        ("np.ones((6, 3)", "np.nan * np.ones((6, 3)", "targets that are not finite"),
        ("np.linspace(-5", "np.inf + np.linspace(-5", "inputs that are not finite"),
    ],
    ids=str,
)
def test_numbers_that_are_not_what_the_package_says_are_refused(install, tmp_path, old, new, reason):
    assert old in NUMBERS
    install(NUMBERS.replace(old, new))
    with pytest.raises(DataError) as refused:
        load(tmp_path)
    assert reason in str(refused.value)
