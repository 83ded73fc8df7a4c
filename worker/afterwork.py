"""Work after a job, in a slot of its own beside training: one file at a time. Never imports torch."""

import logging
import threading
import time
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess

from sqlalchemy.exc import OperationalError

from db import afterwork
from db.afterwork import WorkHold
from db.engine import Database
from db.errors import WorkSuperseded
from db.settings import WorkerSettings
from db.store import Store
from worker import child
from worker.supervisor import Supervisor

log = logging.getLogger(__name__)

#: Seconds between looks for work, and at the process that does it.
POLL_SECONDS = 1.0


class Afterwork:
    """A thread of the worker that makes pending files, each in a process of its own."""

    def __init__(self, settings: WorkerSettings, database: Database, supervisor: Supervisor) -> None:
        self._settings = settings
        self._database = database
        self._store = Store(settings.store_url)
        self._supervisor = supervisor
        # Set when the worker is told to stop, before it waits for its jobs.
        self._stop = supervisor.draining
        self._thread = threading.Thread(target=self._work, name="afterwork", daemon=True)

    def start(self) -> None:
        """Look for work from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Hand back what is under way."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                found = self.run_next()
            except Exception:  # whatever went wrong this time, the next file must not wait for ever
                log.exception("A round of work after jobs failed.")
                found = False
            if not found:
                self._stop.wait(POLL_SECONDS)

    def run_next(self) -> bool:
        """Claim the oldest pending file and stay with it to its end; false if there is none."""
        with self._database.read() as session:
            if not afterwork.is_due(session):
                return False
        with self._database.write() as session:
            done = afterwork.sweep(session, self._settings.max_attempts)
            hold = afterwork.claim(session, self._settings.lease_seconds)
        self._store.delete(done)
        if hold is None:
            return False
        log.info("Artifact %s: attempt %d starts.", hold.artifact_id, hold.attempt)
        process, pipe = self._supervisor.start_child(child.work, hold)
        try:
            self._stay_with(process, hold)
        finally:
            if process.is_alive():
                process.kill()
            process.join()
            pipe.close()
        self._take_back_if_unfinished(hold, process)
        return True

    def _stay_with(self, process: ForkServerProcess, hold: WorkHold) -> None:
        """Keep the lease; return when the process has ended, or is no longer to run and may be killed."""
        lease_seconds = self._settings.lease_seconds
        heard = beaten = time.monotonic()
        while not self._stop.is_set() and not wait([process.sentinel], POLL_SECONDS):
            now = time.monotonic()
            if now - beaten < lease_seconds / 6:
                continue
            try:
                with self._database.write() as session:
                    afterwork.beat(session, hold, lease_seconds)
                heard = beaten = now
            except WorkSuperseded:  # it has written its end and is about to go, or another attempt holds the work
                wait([process.sentinel], POLL_SECONDS)
                return
            except OperationalError:
                log.warning("Artifact %s: the database does not answer.", hold.artifact_id, exc_info=True)
                if now - heard > lease_seconds * 3 / 4:
                    return  # before the lease lapses and another worker starts

    def _take_back_if_unfinished(self, hold: WorkHold, process: ForkServerProcess) -> None:
        """The process writes its own end; if it could not, its exit is all that is known."""
        why = f"the process ended with exit code {process.exitcode}"
        try:
            with self._database.write() as session:
                if self._stop.is_set():
                    afterwork.release(session, hold)
                    done = []
                else:
                    done = afterwork.lose(session, hold, self._settings.max_attempts, why)
            self._store.delete(done)
            log.warning("Artifact %s: %s.", hold.artifact_id, why)
        except WorkSuperseded:
            log.info("Artifact %s: attempt %d ended.", hold.artifact_id, hold.attempt)
