"""What keeps the queue moving whatever was lost: lapsed leases taken back, messages sent again."""

import logging
import threading

from db import lease
from db.engine import Database
from db.settings import WorkerSettings
from worker.queue import Dispatcher
from worker.supervisor import Supervisor

log = logging.getLogger(__name__)

#: Seconds between rounds.
INTERVAL = 5.0


class Housekeeping:
    """A thread of the worker. Any number of workers may keep house at the same time."""

    def __init__(
        self, settings: WorkerSettings, database: Database, dispatcher: Dispatcher, supervisor: Supervisor
    ) -> None:
        self._settings = settings
        self._database = database
        self._dispatcher = dispatcher
        self._supervisor = supervisor
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin with a round at once."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round that is under way."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while True:
            try:
                self._round()
            except Exception:  # whatever went wrong this time, jobs must not wait for ever for the next round
                log.exception("A round of housekeeping failed.")
            if self._stop.wait(INTERVAL):
                return

    def _round(self) -> None:
        with self._database.write() as session:
            taken = lease.sweep(session, self._settings.max_attempts)
        if taken:
            log.warning("Took back %d jobs whose worker was not heard of.", taken)
        # A message that may be lost is sent again only where a slot is free: otherwise the job just waits.
        self._dispatcher.send_due(also_lost=self._supervisor.has_free_slot())
