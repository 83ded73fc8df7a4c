"""What keeps things moving whatever was lost: lapsed leases taken back, messages sent again, leftovers removed."""

import logging
import random
import threading
from collections.abc import Callable

from db import idempotency, recovery, workers
from db.engine import Database
from db.settings import WorkerSettings
from db.status import WorkerStatus
from db.store import Store
from worker import orphans
from worker.queue import Dispatcher
from worker.supervisor import Supervisor

log = logging.getLogger(__name__)

#: Seconds between rounds, and between those that remove leftovers.
INTERVAL = 5.0
CLEANING_INTERVAL = 3600.0
#: Seconds until leftovers are removed first, drawn at random: not by all workers at once, and soon enough for one
#: that never lives for an hour.
FIRST_CLEANING = (60.0, 300.0)


class Housekeeping:
    """Two threads of the worker: removing leftovers may take minutes, and what jobs wait for must not.

    Any number of workers may keep house at the same time.
    """

    def __init__(
        self, settings: WorkerSettings, database: Database, dispatcher: Dispatcher, supervisor: Supervisor
    ) -> None:
        self._settings = settings
        self._database = database
        self._store = Store(settings.store_url)
        self._dispatcher = dispatcher
        self._supervisor = supervisor
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="housekeeping", daemon=True)
        self._cleaner = threading.Thread(target=self._keep_clean, name="cleaning", daemon=True)

    def start(self) -> None:
        """Begin with a round at once."""
        self._thread.start()
        self._cleaner.start()

    def stop(self) -> None:
        """End after the round that is under way, and sign off."""
        self._stop.set()
        # The cleaner is not waited for: it may hang on the store, and may be left at any point.
        self._thread.join()
        with self._database.write() as session:
            workers.remove(session, self._supervisor.name)

    def _work(self) -> None:
        while True:
            # Each by itself: whatever goes wrong with one of them, the others must not wait for it.
            for duty in (self._report, self._sweep, self._send):
                self._do(duty)
            if self._stop.wait(INTERVAL):
                return

    def _keep_clean(self) -> None:
        wait = random.uniform(*FIRST_CLEANING)
        while not self._stop.wait(wait):
            self._do(self._clean)
            wait = CLEANING_INTERVAL

    def _do(self, duty: Callable[[], None]) -> None:
        try:
            duty()
        except Exception:  # jobs must not wait for ever for the next round
            log.exception("Housekeeping failed.")

    def _report(self) -> None:
        draining = self._supervisor.draining.is_set()
        status = WorkerStatus.DRAINING if draining else WorkerStatus.READY
        with self._database.write() as session:
            workers.report(
                session,
                self._supervisor.name,
                slots=self._settings.concurrency,
                status=status,
                device=self._supervisor.device,
            )

    def _sweep(self) -> None:
        with self._database.write() as session:
            taken = recovery.sweep(session, self._settings.retries)
        if taken:
            log.warning("Took back %d jobs whose worker was not heard of.", taken)

    def _send(self) -> None:
        # A message that may be lost is sent again only where a slot is free: otherwise the job just waits.
        self._dispatcher.send_due(also_lost=self._supervisor.has_free_slot())

    def _clean(self) -> None:
        with self._database.write() as session:
            idempotency.purge(session)
            workers.purge(session)
        orphans.sweep(self._database, self._store, self._stop)
