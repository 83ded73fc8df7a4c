"""One attempt as its supervisor sees it: the heartbeat, the orders that reach its trainer, and their deadlines."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
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

#: Seconds between looks at what clients want, and at the clock.
POLL_SECONDS = 0.5
#: How much longer a trainer may take to stop for a pause: it waits for an evaluation and for its checkpoint, and
#: nobody waits for the worker.
PAUSE_GRACE = 10
#: The same for a cancel of a trainer that has not made a step: it has nothing to keep.
IDLE_GRACE_SECONDS = 1.0
#: The same where another attempt holds the job: it finds out by itself, and removes the files that it was writing.
LOST_GRACE_SECONDS = 5.0
#: Between two looks at the clock: this process was stopped, or the machine slept.
STANDSTILL_SECONDS = 5.0


def clock() -> float:
    """Seconds that go on while the machine sleeps, as leases do."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Watch:
    """Keeps the lease of an attempt, passes on what is wanted of its trainer, and kills one that may not go on.

    The caller's thread asks the database. What depends on the clock alone is done by a guard, a thread that waits
    for nothing: a database may take minutes to answer, or to be given up.
    """

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
        self._stall_seconds = settings.stall_seconds
        self._database = database
        self._hold = hold
        self._process = process
        self._pipe = pipe
        self._draining = draining
        self._deadline = clock() + runtime_left
        #: The order that the trainer has been given.
        self.told: Stop | None = None
        #: Why the trainer was killed, if it was.
        self.fault: str | None = None
        self._telling = threading.Lock()
        self._kill_at = inf
        # When the database last answered, and when the trainer last gave a sign of life.
        self._heard = self._alive = clock()

    def until_end(self) -> None:
        """Return when the trainer has ended, or is no longer to run and may be killed."""
        with self._guarded():
            grace = self._follow()
        wait([self._process.sentinel], grace)

    def _follow(self) -> float:
        """Beat and pass on what clients want; returns how many seconds the trainer may still take to end."""
        beaten = clock()
        while self.fault is None and not wait([self._process.sentinel], POLL_SECONDS):
            now = clock()
            beats = now - beaten >= self._lease_seconds / 6
            try:
                status = self._status(beat=beats)
                self._pass_on(status)
            except AttemptSuperseded:
                log.warning("Job %s: another attempt holds it.", self._hold.job_id)
                return LOST_GRACE_SECONDS
            except AWAY as error:
                log.warning("Job %s: the database does not answer: %s", self._hold.job_id, error)
                continue
            # The answer may have been long in coming; the lease counts from about when it was asked for.
            self._heard = max(self._heard, now)
            beaten = now if beats else beaten
            if status not in LIVE:  # the trainer has written its end and is about to go
                return self._grace_seconds
        return 0.0

    def _status(self, *, beat: bool) -> Status:
        if not beat:
            with self._database.read() as session:
                return lease.status(session, self._hold)
        with self._database.write() as session:
            # A look first: an attempt that has ended has no lease to extend.
            status = lease.status(session, self._hold)
            return lease.beat(session, self._hold, self._lease_seconds) if status in LIVE else status

    def _pass_on(self, status: Status) -> None:
        if status is Status.CANCELLING and self.told is not Stop.CANCEL:
            with self._database.read() as session:
                begun = lease.has_begun(session, self._hold)
            self._tell(Stop.CANCEL, self._grace_seconds if begun else min(IDLE_GRACE_SECONDS, self._grace_seconds))
        elif status is Status.PAUSING:
            self._tell(Stop.PAUSE, self._grace_seconds * PAUSE_GRACE)

    def _tell(self, order: Stop, grace: float) -> None:
        """Give an order, the first one, or a cancel after another."""
        with self._telling:
            if self.told in (order, Stop.CANCEL) or (self.told is not None and order is not Stop.CANCEL):
                return
            self._kill_at = clock() + grace
            self.told = order
            try:
                self._pipe.send(order.value)
            except OSError:
                log.info("Job %s: the trainer has just ended.", self._hold.job_id)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        over = threading.Event()
        guard = threading.Thread(target=self._guard, args=[over], name="guard", daemon=True)
        guard.start()
        try:
            yield
        finally:
            over.set()
            guard.join()

    def _guard(self, over: threading.Event) -> None:
        """Kill the trainer once there is reason to, whatever the database does."""
        looked = self._alive
        while not over.wait(POLL_SECONDS):
            now = clock()
            self._listen(now)
            if now - looked > STANDSTILL_SECONDS:
                # The trainer may have stood still as well, and the job may still be its own: the database has
                # a moment to say so.
                self._heard, self._alive = now - self._lease_seconds / 2, now
            looked = now
            self._keep_time(now)
            self.fault = self._fault(now)
            if self.fault is not None:
                log.warning("Job %s: %s; it is killed.", self._hold.job_id, self.fault)
                self._process.kill()
                return

    def _listen(self, now: float) -> None:
        """Take the trainer's signs of life from the pipe."""
        try:
            while self._pipe.poll():
                self._pipe.recv_bytes()
                self._alive = now
        except (EOFError, OSError):  # it has just ended
            return

    def _keep_time(self, now: float) -> None:
        if self._draining.is_set():
            self._tell(Stop.RELEASE, self._grace_seconds)
            self._kill_at = min(self._kill_at, now + self._grace_seconds)
        elif now > self._deadline:
            self._tell(Stop.MAX_RUNTIME, self._grace_seconds)

    def _fault(self, now: float) -> str | None:
        """Why the trainer is to be killed, if it is."""
        if now > self._kill_at:
            return f"the trainer was told to stop ({self.told}) and did not in time"
        if now - self._heard > self._lease_seconds * 3 / 4:  # before the lease lapses and another worker starts
            return f"the database did not answer the worker for {now - self._heard:.0f} s"
        if now - self._alive > self._stall_seconds:
            return f"the trainer made no progress for {now - self._alive:.0f} s"
        return None
