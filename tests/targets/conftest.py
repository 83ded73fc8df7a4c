"""The seeds of a session, and the real data, decoded once."""

import pytest

from db.datasets import DATASETS
from tests.targets.support import SEEDS
from worker.data import cache
from worker.data.cache import CachedData


def seeds_of(config) -> tuple[int, ...]:
    """All in the long form, otherwise the first alone."""
    return SEEDS if config.getoption("long") else SEEDS[:1]


@pytest.fixture(scope="session")
def seeds(pytestconfig) -> tuple[int, ...]:
    return seeds_of(pytestconfig)


def pytest_generate_tests(metafunc):
    """A test that asks for a seed runs once for each."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", seeds_of(metafunc.config), scope="session")


@pytest.fixture(scope="session")
def mnist(data_dir, decoded) -> CachedData:
    return cache.load(DATASETS["mnist"], binarize=False, data_dir=data_dir, cache=decoded)


@pytest.fixture(scope="session")
def binary_mnist(data_dir, decoded) -> CachedData:
    return cache.load(DATASETS["mnist"], binarize=True, data_dir=data_dir, cache=decoded)


@pytest.fixture(scope="session")
def cifar10(cifar10_dir, decoded) -> CachedData:
    return cache.load(DATASETS["cifar10"], binarize=False, data_dir=cifar10_dir.parent, cache=decoded)
