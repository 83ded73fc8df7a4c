"""The long form of the tests, and the page that their figures go to."""

from pathlib import Path

import pytest

from tests.faults.figures import Figures
from tests.faults.harness import STACKS, installed
from tests.faults.runs import Reference

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


def pytest_generate_tests(metafunc):
    if "stack_kind" in metafunc.fixturenames:
        kinds = STACKS if option(metafunc.config, "long", False) else STACKS[:1]
        metafunc.parametrize("stack_kind", kinds, scope="session")


@pytest.fixture(scope="session")
def shared_stack(stack_kind, tmp_path_factory):
    """For the tests whose faults are over when they end."""
    with installed(stack_kind, tmp_path_factory.mktemp(f"faults-{stack_kind}")) as stack:
        stack.start_api()
        stack.start_worker()
        yield stack


@pytest.fixture
def stack(shared_stack):
    """The shared installation with one worker."""
    running = [worker for worker in shared_stack.workers if worker.is_running()]
    for worker in running[1:]:
        worker.stop()
    if not running:
        shared_stack.start_worker()
    return shared_stack


@pytest.fixture(scope="session")
def reference(shared_stack) -> Reference:
    """What undisturbed runs come to."""
    return Reference(shared_stack)


def pytest_terminal_summary(terminalreporter, config):
    page = option(config, "figures", None)
    figures = config.stash.get(FIGURES, None)
    if page is not None and figures is not None:
        failed = [report.nodeid.rpartition("::")[2] for report in terminalreporter.getreports("failed")]
        figures.write(page, failed)
