"""One attempt as its supervisor sees it: the heartbeat, the orders that reach its trainer, and their deadlines."""

import logging
import threading
import time
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from db import lease
from db.engine import Database
from db.errors import AttemptSuperseded
from db.lease import Hold
from db.settings import WorkerSettings
from db.status import LIVE, Status
from worker.patience import AWAY
from worker.stop import Stop

log = logging.getLogger(__name__)

#: Seconds between looks at what clients want.
POLL_SECONDS = 0.5
#: How much longer a trainer may take to stop for a pause: it waits for an evaluation and for its checkpoint, and
#: nobody waits for the worker.
PAUSE_GRACE = 10
#: The same for a cancel of a trainer that has not made a step: it has nothing to keep.
IDLE_GRACE_SECONDS = 1.0
#: The same where another attempt holds the job: it finds out by itself, and removes the files that it was writing.
LOST_GRACE_SECONDS = 5.0


def clock() -> float:
    """Seconds that go on while the machine sleeps, as leases do."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Watch:
    """Keeps the lease of an attempt and passes on what is wanted of its trainer."""

    def __init__(
        self,
        settings: WorkerSettings,
        database: Database,
        hold: Hold,
        process: BaseProcess,
        pipe: Connection,
        draining: threading.Event,
        runtime_left: float,
    ) -> None:
        self._lease_seconds = settings.lease_seconds
        self._grace_seconds = settings.cancel_grace_seconds
        self._database = database
        self._hold = hold
        self._process = process
        self._pipe = pipe
        self._draining = draining
        self._deadline = clock() + runtime_left
        #: The order that the trainer has been given.
        self.told: Stop | None = None
        self._kill_at = 0.0

    def until_end(self) -> None:
        """Return when the trainer has ended, or is no longer to run and may be killed."""
        heard = beaten = clock()
        while not wait([self._process.sentinel], POLL_SECONDS):
            now = clock()
            try:
                status = self._status(beat=now - beaten >= self._lease_seconds / 6)
            except AttemptSuperseded:
                log.warning("Job %s: another attempt holds it.", self._hold.job_id)
                wait([self._process.sentinel], LOST_GRACE_SECONDS)
                return
            except AWAY as error:
                log.warning("Job %s: the database does not answer: %s", self._hold.job_id, error.orig)
                # The answer may have been long in coming: on SQLite until a lock was given up.
                if clock() - heard > self._lease_seconds * 3 / 4:
                    return  # before the lease lapses and another worker starts
                continue
            heard = now
            if now - beaten >= self._lease_seconds / 6:
                beaten = now
            if status not in LIVE:  # the trainer has written its end and is about to go
                wait([self._process.sentinel], self._grace_seconds)
                return
            self._tell(self._wanted(status), now)
            if self.told is not None and self._draining.is_set():
                self._kill_at = min(self._kill_at, now + self._grace_seconds)
            if self.told is not None and now > self._kill_at:
                log.warning("Job %s: the trainer did not stop in time and is killed.", self._hold.job_id)
                return

    def _status(self, *, beat: bool) -> Status:
        if not beat:
            with self._database.read() as session:
                return lease.status(session, self._hold)
        with self._database.write() as session:
            # A look first: an attempt that has ended has no lease to extend.
            status = lease.status(session, self._hold)
            return lease.beat(session, self._hold, self._lease_seconds) if status in LIVE else status

    def _wanted(self, status: Status) -> Stop | None:
        if status is Status.CANCELLING:
            return Stop.CANCEL
        if status is Status.PAUSING:
            return Stop.PAUSE
        if self._draining.is_set():
            return Stop.RELEASE
        return Stop.MAX_RUNTIME if clock() > self._deadline else None

    def _tell(self, order: Stop | None, now: float) -> None:
        """Pass an order on, the first one, or a cancel after another."""
        if order is None or self.told in (order, Stop.CANCEL) or (self.told and order is not Stop.CANCEL):
            return
        self.told = order
        self._kill_at = now + self._grace(order)
        try:
            self._pipe.send(order.value)
        except BrokenPipeError:
            log.info("Job %s: the trainer has just ended.", self._hold.job_id)

    def _grace(self, order: Stop) -> float:
        if order is Stop.CANCEL:
            with self._database.read() as session:
                if not lease.has_begun(session, self._hold):
                    return min(IDLE_GRACE_SECONDS, self._grace_seconds)
        return self._grace_seconds * (PAUSE_GRACE if order is Stop.PAUSE else 1)
