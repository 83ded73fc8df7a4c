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
def service(request, tmp_path_factory, mnist_or_nothing):
    """`normlab-server up` on SQLite and the file broker, then on Postgres and Redis."""
    environment = dict(mnist_or_nothing)
    if request.param == "postgres-redis":
        environment["NORMLAB_DATABASE_URL"] = request.getfixturevalue("postgres_url")
        environment["NORMLAB_BROKER_URL"] = request.getfixturevalue("redis_url")
    running = Service(home=tmp_path_factory.mktemp(request.param), environment=environment)
    running.start()
    yield running
    assert running.stop() == 0, running.output
    assert "Traceback" not in running.output, running.output


@pytest.fixture
def client(service):
    with service.client() as http:
        yield Client(http)
