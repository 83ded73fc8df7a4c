"""Two installations on one store: the one that is not its owner leaves it alone."""

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from db import checkpoints, commands, installation, lease, migrate
from db.engine import Database
from db.store import Store
from tests.db.support import commit, running_job
from worker import orphans


@pytest.fixture
def other(tmp_path):
    """The database of another installation, with nothing in it."""
    opened = Database(f"sqlite:///{tmp_path / 'other.db'}")
    migrate.upgrade(opened)
    yield opened
    opened.dispose()


@pytest.fixture
def store(tmp_path) -> Store:
    return Store((tmp_path / "store").as_uri())


def identify(database: Database) -> str:
    with database.write() as session:
        return installation.identify(session)


def fill(store: Store, database: Database, steps: int = 1) -> list[str]:
    """The files of a job's checkpoints, as the database names them."""
    hold = running_job(database)
    for step in range(1, steps + 1):
        commit(database, hold, step)
    with database.read() as session:
        keys = [each.state_key for each in checkpoints.list_for(session, hold.job_id)]
        keys += [file.store_key for file in checkpoints.artifacts(session, hold.job_id)]
    for key in keys:
        store.put(key, b"content")
    with database.write() as session:
        lease.succeed(session, hold)
    return keys


def leave(store: Store, number: int = 1) -> list[str]:
    """Files of jobs that no database names."""
    keys = [f"jobs/job_{'0' * 32}/attempt-1/step-{step}/state.pt" for step in range(number)]
    for key in keys:
        store.put(key, b"left")
    return keys


def age(tmp_path: Path) -> set[str]:
    """Let the time pass after which leftovers go; returns the keys of all files."""
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    for path in files:
        os.utime(path, (time.time() - orphans.OLD_SECONDS - 60,) * 2)
    return {str(path.relative_to(tmp_path / "store")) for path in files}


def errors(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


def test_an_installation_keeps_its_id_whoever_asks_first(database, other):
    with ThreadPoolExecutor(4) as pool:
        (own,) = set(pool.map(identify, [database] * 8))
    assert identify(database) == own != identify(other)


def test_the_owner_sweeps_and_another_database_does_not(database, other, store, tmp_path, caplog):
    kept = fill(store, database)
    assert orphans.sweep(database, store) == 0  # the store has an owner from now on
    assert store.get(orphans.OWNER).decode() == identify(database)
    left = leave(store)
    everything = age(tmp_path)
    fill(store, other)  # that the other knows files of its own here changes nothing
    assert orphans.sweep(other, store) == 0
    assert everything <= age(tmp_path)
    (said,) = errors(caplog)
    assert identify(database) in said
    assert identify(other) in said
    assert orphans.sweep(database, store) > 0
    assert store.size(left[0]) is None
    assert all(store.size(key) for key in kept)


def test_a_store_whose_files_are_of_another_database_gets_no_owner(database, other, store, tmp_path, caplog):
    """As one that was filled before stores had owners."""
    fill(store, database)
    everything = age(tmp_path)
    assert orphans.sweep(other, store) == 0
    assert age(tmp_path) == everything
    assert "names none of them" in errors(caplog)[0]
    orphans.sweep(database, store)
    assert store.get(orphans.OWNER).decode() == identify(database)


def test_a_database_that_has_lost_its_rows_does_not_empty_its_store(database, store, tmp_path, caplog):
    keys = fill(store, database, steps=40)
    assert len(keys) > orphans.MANY
    orphans.sweep(database, store)
    with database.write() as session:
        commands.delete(session, keys[0].split("/")[1])
    everything = age(tmp_path)
    assert orphans.sweep(database, store) == 0
    assert age(tmp_path) == everything
    assert f"holds {len(keys)} files" in errors(caplog)[0]
    fill(store, database)  # one file that is named, though younger, tells that the rows are there
    assert orphans.sweep(database, store) == len(keys)


def test_a_few_leftovers_of_the_owner_go_though_no_file_is_named(database, store, tmp_path):
    orphans.sweep(database, store)
    left = leave(store, orphans.MANY - 1)
    age(tmp_path)
    assert orphans.sweep(database, store) == len(left)


class After:
    """A stop event that is set after it has been looked at so many times."""

    def __init__(self, looks: int) -> None:
        self._looks, self._looked = looks, count()

    def is_set(self) -> bool:
        return next(self._looked) >= self._looks


def test_a_sweep_ends_between_two_batches(database, store, tmp_path, monkeypatch):
    orphans.sweep(database, store)
    left = leave(store, 9)
    age(tmp_path)
    monkeypatch.setattr(orphans, "BATCH", 2)
    assert orphans.sweep(database, store, After(2)) == 4
    assert sum(store.size(key) is not None for key in left) == 5
