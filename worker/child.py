"""The trainer process's side of the pipe to its supervisor; free of torch, as the supervisor imports it."""

import importlib
import os
import signal
import threading
import time
from contextlib import suppress
from math import inf
from multiprocessing.connection import Connection

from db.afterwork import WorkHold
from db.lease import Hold
from db.settings import WorkerSettings
from worker.child_output import OutputEnds, redirected
from worker.stop import Stop

#: Seconds between signs of life, at most.
SIGN_SECONDS = 5.0


class Orders:
    """What the supervisor wants. The process ends at once when the supervisor is gone.

    `stall_seconds` is after how long without a sign of life the supervisor gives this process up.
    """

    def __init__(self, pipe: Connection, stall_seconds: float = inf) -> None:
        self._stop: Stop | None = None
        self._pipe = pipe
        self._sign_every = min(SIGN_SECONDS, stall_seconds / 4)
        self._next_sign = 0.0
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    @property
    def stop(self) -> Stop | None:
        """What is wanted now. A trainer that asks is one that goes on, and the supervisor gets to know."""
        now = time.monotonic()
        if now >= self._next_sign:
            self._next_sign = now + self._sign_every
            with suppress(OSError):  # the supervisor is gone, and this process ends
                self._pipe.send_bytes(b"")
        return self._stop

    def _listen(self) -> None:
        try:
            while True:
                self._stop = Stop(self._pipe.recv())
        except (EOFError, OSError):  # an error where signs of life were never read
            # Nobody extends the lease any more: whatever this process would still write is refused.
            os._exit(1)


def prepare(settings: WorkerSettings, pipe: Connection) -> None:
    """Decode the data set that comes with the service, so that the first job does not wait for it.

    Sends the kind of device that jobs run on.
    """
    pipe.send(importlib.import_module("worker.run").prepare(settings))


def main(settings: WorkerSettings, hold: Hold, pipe: Connection, output: OutputEnds) -> None:
    """Run one attempt in this process; what it writes goes to `output`."""
    _leave_signals_to_the_supervisor()
    with redirected(output):
        importlib.import_module("worker.run").run_attempt(settings, hold, Orders(pipe, settings.stall_seconds))


def work(settings: WorkerSettings, hold: WorkHold, pipe: Connection) -> None:
    """Make the file of `hold` in this process, which ends at once when the supervisor is gone."""
    _leave_signals_to_the_supervisor()
    Orders(pipe)
    importlib.import_module("worker.make_file").run_work(settings, hold)


def _leave_signals_to_the_supervisor() -> None:
    # Ctrl-C reaches the whole group; when to stop is the supervisor's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
