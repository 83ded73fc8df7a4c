"""What jobs wait for goes on whatever becomes of the removal of leftovers."""

import os
import threading
import time
from pathlib import Path

import pytest

from db import workers
from db.service_tables import Installation
from db.settings import WorkerSettings
from tests.services import wait_for
from worker import housekeeping, orphans
from worker.housekeeping import Housekeeping
from worker.queue import Dispatcher, make_celery
from worker.supervisor import Supervisor


@pytest.fixture
def pipe(tmp_path) -> Path:
    """In the place of a file of the store: who reads it waits until somebody writes to it."""
    pipe = tmp_path / "store" / orphans.OWNER
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    return pipe


def test_a_store_that_hangs_holds_up_neither_the_rounds_nor_the_end(tmp_path, database, pipe, monkeypatch):
    def seen_at():
        with database.read() as session:
            return [state.seen_at for state in workers.states(session)]

    def is_cleaning() -> bool:
        with database.read() as session:
            return session.get(Installation, 1) is not None  # the store is asked next

    monkeypatch.setattr(housekeeping, "INTERVAL", 0.02)
    monkeypatch.setattr(housekeeping, "FIRST_CLEANING", (0.0, 0.0))
    settings = WorkerSettings(home=tmp_path)
    dispatcher = Dispatcher(make_celery(settings), database)
    keeper = Housekeeping(settings, database, dispatcher, Supervisor(settings, database))
    keeper.start()
    wait_for(is_cleaning)
    (before,) = wait_for(seen_at)
    wait_for(lambda: seen_at()[0] > before)
    (cleaner,) = [thread for thread in threading.enumerate() if thread.name == "cleaning"]
    begun = time.monotonic()
    keeper.stop()
    assert time.monotonic() - begun < 2
    assert seen_at() == []
    assert cleaner.is_alive()
    os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))  # fails where nobody reads
    cleaner.join(10)
    assert not cleaner.is_alive()
