"""Claims jobs for the slots of this process, and owns the trainer process of each attempt."""

import logging
import multiprocessing
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import TypeVar

from db import lease, recovery
from db.engine import Database
from db.errors import AttemptSuperseded
from db.lease import Failure, Hold
from db.settings import WorkerSettings
from worker import child
from worker.attempt_log import AttemptLog
from worker.conclusion import with_diagnosis
from worker.patience import patiently
from worker.stop import Stop
from worker.watch import Watch, clock

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that a message waits for a slot: the job before may be just about to leave it.
SLOT_PATIENCE = 1.0
#: Seconds that a killed process may take to go: one that waits for a dead disk never does.
KILL_SECONDS = 10.0


class Supervisor:
    """Runs as many jobs at a time as there are slots. Never imports torch."""

    def __init__(self, settings: WorkerSettings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["worker.preload"])
        # Two workers of one host may get the same process id, one after the other.
        self.name = f"{socket.gethostname()}:{os.getpid()}:{int(clock())}"
        #: What jobs with device `auto` run on; None until it is known.
        self.device: str | None = None
        self.draining = threading.Event()
        self._slots = threading.BoundedSemaphore(settings.concurrency)

    def warm_up(self) -> None:
        """Start the fork server, wait until torch is loaded in it, and prepare what the first job needs."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=child.prepare, args=(self._settings, theirs))
        process.start()
        theirs.close()
        with suppress(EOFError):  # it could not say; each job finds out by itself
            self.device = ours.recv()
        process.join()
        ours.close()

    def has_free_slot(self) -> bool:
        """Whether fewer jobs run than may."""
        free = self._slots.acquire(blocking=False)
        if free:
            self._slots.release()
        return free

    def run_queued(self) -> int:
        """Run queued jobs in one slot until there is none; returns how many. At once 0 if every slot is taken."""
        done = 0
        if self._slots.acquire(timeout=SLOT_PATIENCE):
            try:
                while not self.draining.is_set() and self._run_next():
                    done += 1
            finally:
                self._slots.release()
        return done

    def wait_for_slots(self) -> None:
        """Return when no job runs any more."""
        for _ in range(self._settings.concurrency):
            self._slots.acquire()

    def start_child(
        self, target: Callable[[WorkerSettings, T, Connection], None], hold: T
    ) -> tuple[ForkServerProcess, Connection]:
        """A process of the fork server that runs `target`, and the pipe whose end is its end too."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=target, args=(self._settings, hold, theirs), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def _run_next(self) -> bool:
        """Claim the next queued job and stay with it to its end; false if there is none."""
        with self._database.write() as session:
            hold = lease.claim(session, self.name, self._settings.lease_seconds)
            runtime_left = lease.runtime_left(session, hold) if hold is not None else 0.0
        if hold is None:
            return False
        if runtime_left > 0:
            self._run(hold, runtime_left)
        else:
            self._end_if_unfinished(hold, self._out_of_time(hold))
        return True

    def _run(self, hold: Hold, runtime_left: float) -> None:
        log.info("Job %s: attempt %d starts.", hold.job_id, hold.attempt)
        output = AttemptLog(self._database, hold)
        process, ours = self.start_child(partial(child.main, output=output.child_ends), hold)
        output.start()
        watch = Watch(self._settings, self._database, hold, process, ours, self.draining, runtime_left)
        try:
            watch.until_end()
        finally:
            self._end(process, hold)
            ours.close()
            output.close()
        if watch.told is Stop.MAX_RUNTIME:
            failure = self._out_of_time(hold)
        else:
            failure = recovery.lost(watch.fault or f"the trainer process ended with exit code {process.exitcode}")
        self._end_if_unfinished(hold, failure, released=watch.told is Stop.RELEASE)

    def _end(self, process: ForkServerProcess, hold: Hold) -> None:
        if process.is_alive():
            process.kill()
        process.join(KILL_SECONDS)
        if process.is_alive():
            log.error("Job %s: process %s was killed and is still there.", hold.job_id, process.pid)

    def _out_of_time(self, hold: Hold) -> Failure:
        with self._database.read() as session:
            return recovery.out_of_time(lease.max_runtime(session, hold))

    def _end_if_unfinished(self, hold: Hold, failure: Failure, *, released: bool = False) -> None:
        """A trainer writes its own end; if it could not, this is all that is known."""
        end = lease.release if released else with_diagnosis(self._database, hold, failure, self._settings.retries)
        try:
            patiently(self._database, lambda session: end(session, hold))
            log.warning("Job %s: attempt %d: %s", hold.job_id, hold.attempt, failure.message)
        except AttemptSuperseded:
            log.info("Job %s: attempt %d ended.", hold.job_id, hold.attempt)
