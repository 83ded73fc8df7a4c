"""The API alone: a real uvicorn on SQLite and the file broker, without a worker."""

import threading

import httpx2
import pytest
import uvicorn

from api.main import create_app
from api.settings import ApiSettings
from db import migrate
from db.engine import Database
from tests.services import accepts_connections, free_port, wait_for


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
    config = uvicorn.Config(create_app(settings), port=settings.port, log_level="warning")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    wait_for(lambda: accepts_connections(settings.port))
    yield f"http://127.0.0.1:{settings.port}"
    running.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def http(server):
    with httpx2.Client(base_url=server, timeout=30) as client:
        yield client
