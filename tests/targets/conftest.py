"""The real data, decoded once."""

import pytest

from db.datasets import DATASETS
from worker.data import cache
from worker.data.cache import CachedData


@pytest.fixture(scope="session")
def decoded(tmp_path_factory):
    """The folder of decoded data."""
    return tmp_path_factory.mktemp("decoded")


@pytest.fixture(scope="session")
def mnist(data_dir, decoded) -> CachedData:
    return cache.load(DATASETS["mnist"], binarize=False, data_dir=data_dir, cache=decoded)


@pytest.fixture(scope="session")
def binary_mnist(data_dir, decoded) -> CachedData:
    return cache.load(DATASETS["mnist"], binarize=True, data_dir=data_dir, cache=decoded)


@pytest.fixture(scope="session")
def cifar10(cifar10_dir, decoded) -> CachedData:
    return cache.load(DATASETS["cifar10"], binarize=False, data_dir=cifar10_dir.parent, cache=decoded)
