"""The Celery worker: its one task, and what starts and ends with it. Loaded by Celery, never by the API."""

import logging
from typing import Any

from celery import shared_task
from celery.signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down

from db.engine import Database
from db.settings import WorkerSettings
from worker.afterwork import Afterwork
from worker.housekeeping import Housekeeping
from worker.launcher import Launcher
from worker.poller import Poller
from worker.queue import TASK, Dispatcher
from worker.supervisor import Supervisor

log = logging.getLogger(__name__)

settings = WorkerSettings()
database = Database(settings.database_url)
supervisor = Supervisor(settings, database)


@shared_task(name=TASK)
def run_job(job_id: str) -> None:
    """A job is queued, this one or another: run what is."""
    supervisor.run_queued()


@worker_init.connect
def _warm_up(**_: Any) -> None:
    supervisor.warm_up()


@worker_ready.connect
def _open(sender: Any, **_: Any) -> None:
    dispatcher = Dispatcher(sender.app, database)
    housekeeping = Housekeeping(settings, database, dispatcher, supervisor)
    housekeeping.start()
    launcher = Launcher(database, dispatcher, settings.memory_limit_bytes)
    launcher.start()
    poller = Poller(database, supervisor)
    poller.start()
    afterwork = Afterwork(settings, database, supervisor)
    afterwork.start()
    for part in (launcher, poller, afterwork, housekeeping):
        worker_shutdown.connect(lambda part=part, **_: part.stop(), weak=False)
    if settings.ready_file:
        settings.ready_file.write_text("ready\n")
    log.info("Worker %s takes jobs, %d at a time.", supervisor.name, settings.concurrency)


@worker_shutting_down.connect
def _drain(**_: Any) -> None:
    # The trainers hand their jobs back at the next step; Celery waits for the tasks to return.
    supervisor.draining.set()
