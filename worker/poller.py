"""Queued jobs are found without a message too: one that was lost, a broker that is away, a wait that is over."""

import logging
import threading

from db import lease
from db.engine import Database
from worker.supervisor import Supervisor

log = logging.getLogger(__name__)

#: Seconds between looks; a message comes sooner.
INTERVAL = 1.0


class Poller:
    """A thread of the worker that fills its free slots with queued jobs."""

    def __init__(self, database: Database, supervisor: Supervisor) -> None:
        self._database = database
        self._supervisor = supervisor
        self._thread = threading.Thread(target=self._work, name="poller", daemon=True)

    def start(self) -> None:
        """Look for jobs from now on, until the worker is told to stop."""
        self._thread.start()

    def stop(self) -> None:
        """Return when the last job has been handed back."""
        self._thread.join()
        self._supervisor.wait_for_slots()

    def _work(self) -> None:
        while not self._supervisor.draining.wait(INTERVAL):
            try:
                if self._supervisor.has_free_slot() and self._is_due():
                    threading.Thread(target=self._run, name="slot", daemon=True).start()
            except Exception:  # whatever went wrong this time: without looks, jobs would wait for messages
                log.exception("A look for jobs failed.")

    def _is_due(self) -> bool:
        with self._database.read() as session:
            return lease.is_due(session)

    def _run(self) -> None:
        try:
            self._supervisor.run_queued()
        except Exception:  # the lease gives the job back; the slot takes the next one
            log.exception("A slot failed.")
