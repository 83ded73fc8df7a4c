"""Claims a job, owns the trainer process of the attempt, keeps the lease and passes on what clients want."""

import logging
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from multiprocessing.process import BaseProcess
from typing import TypeVar

from sqlalchemy.exc import OperationalError

from db import lease
from db.engine import Database
from db.errors import AttemptSuperseded
from db.lease import Hold
from db.settings import WorkerSettings
from db.status import LIVE, Status
from worker import child
from worker.child import Stop

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds between looks at what clients want, and how long a trainer may take to stop.
POLL_SECONDS = 0.5
GRACE_SECONDS = 30.0


class Supervisor:
    """Runs jobs one at a time for each thread that calls `run_next`. Never imports torch."""

    def __init__(self, settings: WorkerSettings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["worker.preload"])
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.draining = threading.Event()
        self._lock = threading.Lock()
        self._active = 0

    def warm_up(self) -> None:
        """Start the fork server, wait until torch is loaded in it, and prepare what the first job needs."""
        process = self._context.Process(target=child.prepare, args=(self._settings,))
        process.start()
        process.join()

    def has_free_slot(self) -> bool:
        """Whether fewer jobs run than may."""
        return self._active < self._settings.concurrency

    def run_next(self) -> bool:
        """Claim the next queued job and stay with it to its end; false if there is none."""
        if self.draining.is_set():
            return False
        with self._database.write() as session:
            hold = lease.claim(session, self.name, self._settings.lease_seconds)
        if hold is None:
            return False
        with self._lock:
            self._active += 1
        try:
            self._run(hold)
        finally:
            with self._lock:
                self._active -= 1
        return True

    def start_child(
        self, target: Callable[[WorkerSettings, T, Connection], None], hold: T
    ) -> tuple[ForkServerProcess, Connection]:
        """A process of the fork server that runs `target`, and the pipe whose end is its end too."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=target, args=(self._settings, hold, theirs), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def _run(self, hold: Hold) -> None:
        log.info("Job %s: attempt %d starts.", hold.job_id, hold.attempt)
        process, ours = self.start_child(child.main, hold)
        try:
            Watch(self._settings, self._database, hold, process, ours, self.draining).until_end()
        finally:
            if process.is_alive():
                process.kill()
            process.join()
            ours.close()
        self._take_back_if_unfinished(hold, process)

    def _take_back_if_unfinished(self, hold: Hold, process: ForkServerProcess) -> None:
        """A trainer writes its own end; if it could not, its exit is all that is known."""
        why = f"the trainer process ended with exit code {process.exitcode}"
        try:
            with self._database.write() as session:
                lease.lose(session, hold, self._settings.max_attempts, why)
            log.warning("Job %s: %s.", hold.job_id, why)
        except AttemptSuperseded:
            log.info("Job %s: attempt %d ended.", hold.job_id, hold.attempt)


class Watch:
    """One attempt's heartbeat, and the commands that reach its trainer."""

    def __init__(
        self,
        settings: WorkerSettings,
        database: Database,
        hold: Hold,
        process: BaseProcess,
        pipe: Connection,
        draining: threading.Event,
    ) -> None:
        self._settings = settings
        self._database = database
        self._hold = hold
        self._process = process
        self._pipe = pipe
        self._draining = draining
        self._told: Stop | None = None
        self._told_at = 0.0

    def until_end(self) -> None:
        """Return when the trainer has ended, or is no longer to run and may be killed."""
        lease_seconds = self._settings.lease_seconds
        heard = beaten = time.monotonic()
        while not wait([self._process.sentinel], POLL_SECONDS):
            now = time.monotonic()
            try:
                with self._database.read() as session:
                    status = lease.status(session, self._hold)
                if status not in LIVE:  # the trainer has written its end and is about to go
                    wait([self._process.sentinel], GRACE_SECONDS)
                    return
                if now - beaten >= lease_seconds / 6:
                    with self._database.write() as session:
                        status = lease.beat(session, self._hold, lease_seconds)
                    beaten = now
                heard = now
            except AttemptSuperseded:
                log.warning("Job %s: another attempt holds it.", self._hold.job_id)
                return
            except OperationalError:
                log.warning("Job %s: the database does not answer.", self._hold.job_id, exc_info=True)
                if now - heard > lease_seconds * 3 / 4:
                    return  # before the lease lapses and another worker starts
                continue
            self._pass_on(status)
            if self._told is not None and now - self._told_at > GRACE_SECONDS:
                return

    def _pass_on(self, status: Status) -> None:
        order = Stop.CANCEL if status is Status.CANCELLING else Stop.RELEASE
        wanted = status is Status.CANCELLING or self._draining.is_set()
        if wanted and self._told is None:
            self._told, self._told_at = order, time.monotonic()
            try:
                self._pipe.send(order.value)
            except BrokenPipeError:
                log.info("Job %s: the trainer has just ended.", self._hold.job_id)
