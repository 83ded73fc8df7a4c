"""The long form of the tests, and the page that their figures go to."""

from pathlib import Path

import pytest

from tests.faults.figures import Figures

FIGURES = pytest.StashKey[Figures]()


def pytest_addoption(parser):
    group = parser.getgroup("faults")
    group.addoption("--long", action="store_true", help="many more faults, on both stacks; hours")
    group.addoption("--figures", type=Path, help="a Markdown page for the figures of this session")
    group.addoption("--fault-seed", type=int, default=0, help="of the moments at which things break")


def option(config, name, default):
    """Its value; the options are not known where the tests are run from another folder."""
    return config.getoption(name, default)


@pytest.fixture(scope="session")
def long(pytestconfig) -> bool:
    return option(pytestconfig, "long", False)


@pytest.fixture(scope="session")
def seed(pytestconfig) -> int:
    return option(pytestconfig, "fault_seed", 0)


@pytest.fixture(scope="session")
def figures(pytestconfig, seed) -> Figures:
    return pytestconfig.stash.setdefault(FIGURES, Figures(seed=seed))


def pytest_terminal_summary(terminalreporter, config):
    page = option(config, "figures", None)
    figures = config.stash.get(FIGURES, None)
    if page is not None and figures is not None:
        failed = [report.nodeid.rpartition("::")[2] for report in terminalreporter.getreports("failed")]
        figures.write(page, failed)
