"""The API alone: a real uvicorn on SQLite and the file broker, without a worker."""

import httpx2
import pytest

from api.settings import ApiSettings
from db import migrate
from db.engine import Database
from tests.api.support import serving
from tests.services import free_port


@pytest.fixture(scope="session")
def settings(tmp_path_factory):
    return ApiSettings(home=tmp_path_factory.mktemp("api"), port=free_port())


@pytest.fixture(scope="session")
def database(settings):
    opened = Database(settings.database_url)
    migrate.upgrade(opened)
    yield opened
    opened.dispose()


@pytest.fixture(scope="session")
def server(settings, database):
    with serving(settings) as url:
        yield url


@pytest.fixture
def http(server):
    with httpx2.Client(base_url=server, timeout=30) as client:
        yield client
