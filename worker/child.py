"""The trainer process's side of the pipe to its supervisor; free of torch, as the supervisor imports it."""

import importlib
import os
import signal
import threading
from multiprocessing.connection import Connection

from db.afterwork import WorkHold
from db.lease import Hold
from db.settings import WorkerSettings
from worker.child_output import OutputEnds, redirected
from worker.stop import Stop


class Orders:
    """What the supervisor wants. The process ends at once when the supervisor is gone."""

    def __init__(self, pipe: Connection) -> None:
        self.stop: Stop | None = None
        self._pipe = pipe
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                self.stop = Stop(self._pipe.recv())
        except EOFError:
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
        importlib.import_module("worker.run").run_attempt(settings, hold, Orders(pipe))


def work(settings: WorkerSettings, hold: WorkHold, pipe: Connection) -> None:
    """Make the file of `hold` in this process, which ends at once when the supervisor is gone."""
    _leave_signals_to_the_supervisor()
    Orders(pipe)
    importlib.import_module("worker.make_file").run_work(settings, hold)


def _leave_signals_to_the_supervisor() -> None:
    # Ctrl-C reaches the whole group; when to stop is the supervisor's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
