"""What all tests share: real servers, real data, and a loud word on what could not be tested."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests import services

# The same examples on every run, so that a failure is of the change at hand; `--hypothesis-profile=explore` looks
# for new ones. No deadlines: a busy machine is not a bug.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile("repeatable")

ROOT = Path(__file__).parents[1]
MISSING: set[str] = set()


def missing(what: str) -> None:
    """Skip, and say so again at the very end."""
    MISSING.add(what)
    pytest.skip(what)


def pytest_terminal_summary(terminalreporter):
    if MISSING:
        terminalreporter.section("NOT TESTED", sep="!", red=True, bold=True)
        for what in sorted(MISSING):
            terminalreporter.line(what, red=True)


@pytest.fixture(scope="session")
def postgres_url():
    """A real Postgres: TEST_DATABASE_URL, or one that is started here."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    if not services.find_program("initdb"):
        missing("Postgres: install Debian's `postgresql`, or set TEST_DATABASE_URL")
    with services.postgres() as url:
        yield url


@pytest.fixture(scope="session")
def redis_url():
    """A real Redis: TEST_BROKER_URL, or one that is started here."""
    if url := os.environ.get("TEST_BROKER_URL"):
        yield url
        return
    if not services.find_program("redis-server"):
        missing("Redis: install Debian's `redis-server`, or set TEST_BROKER_URL")
    with services.redis() as url:
        yield url


def folder_with(name: str, title: str) -> Path:
    """NORMLAB_DATA_DIR, or a folder of data beside the checkout, if it holds the data set."""
    given = os.environ.get("NORMLAB_DATA_DIR")
    places = [Path(given)] if given else [ROOT / "data", ROOT / "../data", ROOT / "../shared/data"]
    for place in places:
        if any((place / name).glob("**/*.parquet")):
            return place.resolve()
    missing(f"{title}: set NORMLAB_DATA_DIR to a folder that holds {name}/train-*.parquet and test-*.parquet")
    raise AssertionError


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that holds mnist/."""
    return folder_with("mnist", "MNIST")


@pytest.fixture(scope="session")
def cifar10_dir() -> Path:
    """The folder cifar10/ with the real files."""
    return folder_with("cifar10", "CIFAR-10") / "cifar10"
