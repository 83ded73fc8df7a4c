"""The API as a real server in a thread of the test, and how tests write to its database behind its back."""

import contextlib
import threading
from collections.abc import Iterator

from api.server import Server, make_server
from api.settings import ApiSettings
from db import events
from db.engine import Database
from db.events import EventType
from tests.services import accepts_connections, wait_for


@contextlib.contextmanager
def serving(settings: ApiSettings) -> Iterator[str]:
    """The address of a server on these settings, stopped in order with the block."""
    with running(settings):
        yield f"http://127.0.0.1:{settings.port}"


@contextlib.contextmanager
def running(settings: ApiSettings) -> Iterator[Server]:
    """The server itself."""
    server = make_server(settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: accepts_connections(settings.port))
        yield server
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive()


def add_line(database: Database, job_id: str, **data: object) -> None:
    """One more line of the job's timeline."""
    with database.write() as session:
        events.add(session, job_id, 0, EventType.WARNING, **data)


def read_events(answer) -> Iterator[dict[str, str]]:
    """The fields of each event of a stream; comments are left out."""
    event: dict[str, str] = {}
    for line in answer.iter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            yield event
            event = {}
