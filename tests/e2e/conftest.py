"""The whole service, for real, on each of the two stacks."""

import pytest

from tests.e2e.client import Client
from tests.services import Service

STACKS = ("embedded", "postgres-redis")


@pytest.fixture(scope="session")
def mnist_or_nothing(request):
    """Where MNIST is, if it is anywhere: most tests do not need it."""
    try:
        return {"NORMLAB_DATA_DIR": str(request.getfixturevalue("data_dir"))}
    except pytest.skip.Exception:
        return {}


@pytest.fixture(scope="session", params=STACKS)
def service(request, tmp_path_factory, mnist_or_nothing, decoded):
    """`normlab-server up` on SQLite and the file broker, then on Postgres and Redis."""
    environment, home = dict(mnist_or_nothing), tmp_path_factory.mktemp(request.param)
    (home / "cache").symlink_to(decoded)
    if request.param == "postgres-redis":
        environment["NORMLAB_DATABASE_URL"] = request.getfixturevalue("postgres_url")
        environment["NORMLAB_BROKER_URL"] = request.getfixturevalue("redis_url")
    running = Service(home=home, environment=environment)
    running.start()
    yield running
    assert running.stop() == 0, running.output
    assert "Traceback" not in running.output, running.output


@pytest.fixture(scope="session")
def without_data_and_patience(tmp_path_factory):
    """One that has no data, no network to fetch some by, and little patience with trainers.

    The library would try for a while to make sure that there is no network.
    """
    environment = {"HF_HUB_OFFLINE": "1", "NORMLAB_CANCEL_GRACE_SECONDS": "1"}
    running = Service(home=tmp_path_factory.mktemp("home"), environment=environment)
    running.start()
    yield running
    assert running.stop() == 0, running.output


@pytest.fixture
def client(service):
    with service.client() as http:
        yield Client(http)
        Client(http).cancel_all()
