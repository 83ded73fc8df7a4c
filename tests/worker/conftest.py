"""Digits decoded once for all tests, and a database for those that need one."""

from collections.abc import Iterator

import pytest
import torch

from db import migrate
from db.datasets import DATASETS, DatasetName
from db.engine import Database
from worker.data import cache
from worker.data.cache import CachedData

# The networks are small: threads only wait for one another on a busy machine.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> CachedData:
    folder = tmp_path_factory.mktemp("digits")
    return cache.load(DATASETS[DatasetName.DIGITS], binarize=False, data_dir=folder, cache=folder / "cache")


@pytest.fixture
def database(tmp_path) -> Iterator[Database]:
    """A migrated SQLite database in a file."""
    database = Database(f"sqlite:///{tmp_path / 'normlab.db'}")
    migrate.upgrade(database)
    yield database
    database.dispose()
