"""One installation for all of the tests, and the page that their figures go to."""

import contextlib
import functools
from pathlib import Path

import pytest

from tests.faults.figures import Figures
from tests.faults.harness import STACKS, Stack, installed
from tests.faults.runs import Reference

FIGURES = pytest.StashKey[Figures]()


def pytest_addoption(parser):
    group = parser.getgroup("faults")
    group.addoption("--figures", type=Path, help="a Markdown page for the figures of this session")
    group.addoption("--fault-seed", type=int, default=0, help="of the moments at which things break")


def option(config, name, default):
    """Its value; the options are not known where the tests are run from another folder."""
    return config.getoption(name, default)


@pytest.fixture(scope="session")
def seed(pytestconfig) -> int:
    return option(pytestconfig, "fault_seed", 0)


@pytest.fixture(scope="session")
def figures(pytestconfig, seed) -> Figures:
    return pytestconfig.stash.setdefault(FIGURES, Figures(seed=seed))


def pytest_generate_tests(metafunc):
    """In the short form the tests run on the embedded stack, or on the one that their module names."""
    if "stack_kind" in metafunc.fixturenames:
        short = getattr(metafunc.module, "SHORT_STACKS", STACKS[:1])
        kinds = STACKS if metafunc.config.getoption("long") else short
        metafunc.parametrize("stack_kind", kinds, scope="session")


@pytest.fixture(scope="session")
def installations(tmp_path_factory):
    """One of each kind for the whole session, made when it is first asked for."""
    with contextlib.ExitStack() as running:

        @functools.cache
        def installation(kind: str) -> Stack:
            # Jobs may be interrupted as often as a test likes.
            settings = {"max_attempts": 1000}
            return running.enter_context(installed(kind, tmp_path_factory.mktemp(kind), **settings))

        yield installation


@pytest.fixture
def stack(installations, stack_kind):
    """The installation of the session, with its API and one worker, whatever the test before has left of it."""
    shared = installations(stack_kind)
    worker, *others = shared.running_workers() or [shared.start_worker(wait=False)]
    for other in others:
        other.stop()
    # Meanwhile the worker starts.
    if shared.api is None or not shared.api.is_running():
        shared.start_api()
    worker.wait_until_ready()
    return shared


@pytest.fixture(scope="session")
def references():
    """What undisturbed runs come to, by the stack that they run on."""
    return functools.cache(Reference)


@pytest.fixture
def reference(references, stack) -> Reference:
    """What undisturbed runs come to on this stack."""
    return references(stack)


def pytest_terminal_summary(terminalreporter, config):
    page = option(config, "figures", None)
    figures = config.stash.get(FIGURES, None)
    if page is not None and figures is not None:
        failed = [report.nodeid.rpartition("::")[2] for report in terminalreporter.getreports("failed")]
        figures.write(page, failed)
