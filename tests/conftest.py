"""What all tests share: real servers, real data, and a loud word on what could not be tested."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from tests import services

# The same examples on every run, so that a failure is of the change at hand; `--hypothesis-profile=explore` looks
# for new ones. No deadlines: a busy machine is not a bug.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile("repeatable")

ROOT = Path(__file__).parents[1]
#: In the reason of a skip: reasons come back from the processes of pytest-xdist too.
NOT_TESTED = "not tested: "
#: The longest first, so that no process is left alone with one of them at the end.
FIRST = ("tests/e2e/", "tests/faults/", "tests/targets/")
#: Folders whose tests share running services: each is one unit.
SERVICE = ("tests/e2e/", "tests/faults/")


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="every seed, every stack, many more faults")


@pytest.fixture(scope="session")
def long(pytestconfig) -> bool:
    return pytestconfig.getoption("long")


@pytest.fixture(scope="session")
def only_long(long) -> None:
    """For what the first form of a test leaves out."""
    if not long:
        pytest.skip("in the long form: make faults, make targets")


def missing(what: str) -> None:
    """Skip, and say so again at the very end."""
    pytest.skip(NOT_TESTED + what)


def pytest_terminal_summary(terminalreporter):
    reasons = {report.longrepr[2] for report in terminalreporter.getreports("skipped")}
    if lacking := sorted(reason.partition(NOT_TESTED)[2] for reason in reasons if NOT_TESTED in reason):
        terminalreporter.section("NOT TESTED", sep="!", red=True, bold=True)
        for what in lacking:
            terminalreporter.line(what, red=True)


def order(item) -> int:
    """The place of its folder in FIRST, or behind them all."""
    return next((place for place, folder in enumerate(FIRST) if item.nodeid.startswith(folder)), len(FIRST))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """In a process of pytest-xdist, which hands the tests out in this order."""
    if hasattr(config, "workerinput"):
        items.sort(key=order)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return OneService(config, log) if config.getoption("dist") == "loadfile" else None


class OneService(LoadFileScheduling):
    """A file at a time to each process; those of each folder that shares running services are as one file.

    A second set of services would train on the same cores.
    """

    def _split_scope(self, nodeid: str) -> str:
        folder = next((folder for folder in SERVICE if nodeid.startswith(folder)), None)
        return folder or super()._split_scope(nodeid)


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


@pytest.fixture(scope="session")
def decoded(tmp_path_factory) -> Path:
    """Where real data are decoded to, once for the services too; the processes of pytest-xdist share it."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "decoded"
    folder.mkdir(exist_ok=True)
    return folder
