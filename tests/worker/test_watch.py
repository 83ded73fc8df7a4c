"""What a watch does with real processes, whether the database answers or not."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import sqlite3
import threading
import time
from contextlib import closing, contextmanager

import pytest

from db import commands, events, lease
from db.settings import WorkerSettings
from db.status import Status
from tests.db.support import claimed_job, job_of
from tests.services import wait_for
from tests.worker import trainers
from worker import watch as watching
from worker.stop import Stop
from worker.supervisor import Supervisor
from worker.watch import Watch

#: An exit code of `trainers.obey`.
TOLD = {stop: 10 + number for number, stop in enumerate(Stop)}


class Watched:
    """A trainer process, and the watch of it in a thread, as a slot of a worker has it."""

    def __init__(self, database, target, *, runtime_left=600.0, **settings):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["worker.preload"])  # the fork server serves other tests too
        self.settings = WorkerSettings(**{"lease_seconds": 30.0, "cancel_grace_seconds": 30.0} | settings)
        self.hold = claimed_job(database, self.settings.lease_seconds)
        self.database = database
        self.pipe, theirs = context.Pipe()
        args = (theirs, self.settings.stall_seconds)
        self.process = context.Process(target=target, args=args, daemon=True)
        self.process.start()
        theirs.close()
        self.draining = threading.Event()
        self.watch = Watch(
            self.settings, database, self.hold, self.process, self.pipe, self.draining, runtime_left
        )
        self.thread = threading.Thread(target=self.watch.until_end)
        self.thread.start()

    def ask(self, command) -> None:
        with self.database.write() as session:
            command(session, self.hold.job_id)

    def wait(self) -> int | None:
        """The exit code, once the process has ended by itself or by the watch."""
        multiprocessing.connection.wait([self.process.sentinel], 20)
        self.process.join(0)
        return self.process.exitcode

    def end(self) -> None:
        self.process.kill()
        self.thread.join(40)
        self.process.join(20)
        self.pipe.close()


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.05)


@pytest.fixture
def watched(database):
    made = []

    def start(target, **settings) -> Watched:
        made.append(Watched(database, target, **settings))
        return made[-1]

    yield start
    for each in made:
        each.end()


@contextmanager
def hanging(database):
    """In the block a writer waits, for up to half a minute."""
    with closing(sqlite3.connect(database.url.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def test_the_orders_of_clients_and_of_the_worker_reach_the_trainer(watched):
    for order in (Stop.CANCEL, Stop.PAUSE, Stop.RELEASE, Stop.MAX_RUNTIME):
        trainer = watched(trainers.obey, runtime_left=0.0 if order is Stop.MAX_RUNTIME else 600.0)
        if command := {Stop.CANCEL: commands.cancel, Stop.PAUSE: commands.pause}.get(order):
            trainer.ask(command)
        elif order is Stop.RELEASE:
            trainer.draining.set()
        assert trainer.wait() == TOLD[order]
        assert (trainer.watch.told, trainer.watch.fault) == (order, None)


def test_a_trainer_is_killed_before_its_lease_lapses_while_the_database_does_not_answer(database, watched):
    trainer = watched(trainers.obey, lease_seconds=4.0)
    with hanging(database):
        begun = time.monotonic()
        assert trainer.wait() == -signal.SIGKILL
        assert time.monotonic() - begun < 4.0
        assert trainer.thread.is_alive()  # it still waits for its answer
    assert "the database did not answer the worker for" in trainer.watch.fault


def test_a_trainer_outlives_a_sleep_of_the_machine_where_the_job_is_still_its_own(watched, monkeypatch):
    slept, clock = [0.0], watching.clock
    monkeypatch.setattr(watching, "clock", lambda: clock() + slept[0])
    trainer = watched(trainers.ignore, stall_seconds=600)
    slept[0] = 3600.0
    assert not multiprocessing.connection.wait([trainer.process.sentinel], 0.5)
    trainer.ask(commands.cancel)
    trainer.wait()
    assert trainer.watch.told is Stop.CANCEL


def test_a_worker_that_ends_releases_its_trainer_while_the_database_does_not_answer(database, watched):
    trainer = watched(trainers.obey)
    with hanging(database):
        trainer.draining.set()
        assert trainer.wait() == TOLD[Stop.RELEASE]


def test_a_trainer_that_does_not_stop_is_killed_while_the_database_does_not_answer(database, watched):
    trainer = watched(trainers.ignore, lease_seconds=6.0, cancel_grace_seconds=1.0)
    with database.write() as session:
        lease.begin(session, trainer.hold)
    trainer.ask(commands.cancel)
    wait_for(lambda: trainer.watch.told is Stop.CANCEL, timeout=10)
    with hanging(database):
        assert trainer.wait() == -signal.SIGKILL
    assert trainer.watch.fault == "the trainer was told to stop (cancel) and did not in time"


def test_a_trainer_that_stands_still_is_killed_and_one_that_goes_on_is_not(watched):
    standing = watched(trainers.stand_still, stall_seconds=1.0)
    going = watched(trainers.obey, stall_seconds=3.0)
    assert standing.wait() == -signal.SIGKILL
    assert "the trainer made no progress for" in standing.watch.fault
    time.sleep(2.5)
    assert going.process.is_alive()
    os.kill(going.process.pid, signal.SIGSTOP)
    assert going.wait() == -signal.SIGKILL
    assert "the trainer made no progress for" in going.watch.fault


def test_a_trainer_ends_when_its_supervisor_is_gone_with_its_signs_of_life_unread():
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(target=trainers.ignore, args=(theirs, 0.1), daemon=True)
    process.start()
    theirs.close()
    assert ours.poll(20)
    ours.close()
    process.join(20)
    assert process.exitcode == 1


def test_a_job_whose_trainer_stands_still_is_tried_again_and_says_why(database, tmp_path):
    url = database.url.render_as_string(hide_password=False)
    settings = WorkerSettings(home=tmp_path, database_url=url, stall_seconds=1.0, retry_backoff_seconds=600)
    hold = claimed_job(database)
    with database.write() as session:
        lease.release(session, hold)
    supervisor = Supervisor(settings, database)
    thread = threading.Thread(target=supervisor.run_queued)
    thread.start()
    trainer = wait_for(multiprocessing.active_children, timeout=20)[0]
    os.kill(trainer.pid, signal.SIGSTOP)
    thread.join(30)
    job = job_of(database, hold.job_id)
    assert (job.status, job.reason, job.lost_attempts) == (Status.QUEUED, "worker_lost", 1)
    with database.read() as session:
        assert "no progress" in list(events.after(session, hold.job_id, 0, 100))[-1].data["message"]
