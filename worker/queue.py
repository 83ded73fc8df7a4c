"""Celery, and nothing but Celery: how a job's id travels to a worker.

A message is only a wake-up call. The database says what is queued and who holds it, so a lost or doubled message
changes nothing.
"""

import logging

from celery import Celery
from kombu.exceptions import KombuError, OperationalError
from sqlalchemy.exc import SQLAlchemyError

from db import outbox
from db.engine import Database
from db.settings import Settings

log = logging.getLogger(__name__)

TASK = "normlab.run_job"
QUEUE = "normlab"
#: Seconds between looks into the embedded broker's folder; kombu's own second would be most of a job's start.
POLLING_INTERVAL = 0.05


def make_celery(settings: Settings) -> Celery:
    """The Celery application of this installation."""
    app = Celery("normlab", broker=settings.broker_url, include=["worker.tasks"])
    app.conf.update(
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        # For ever: jobs are found without messages meanwhile.
        broker_connection_max_retries=None,
        broker_transport="worker.folder_broker:Transport" if _embedded(settings) else None,
        broker_transport_options=_transport_options(settings),
        # A message is worthless once the job's row is claimed: nothing to acknowledge late, nothing to return.
        task_acks_late=False,
        task_default_queue=QUEUE,
        task_ignore_result=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
    )
    return app


def _embedded(settings: Settings) -> bool:
    return settings.broker_url.startswith("filesystem:")


def _transport_options(settings: Settings) -> dict[str, object]:
    if not _embedded(settings):
        return {"health_check_interval": 25, "socket_timeout": 30, "socket_connect_timeout": 5}
    folders = {name: settings.messages / name for name in ("queue", "control", "processed")}
    for folder in folders.values():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {
        "data_folder_in": str(folders["queue"]),
        "data_folder_out": str(folders["queue"]),
        "control_folder": str(folders["control"]),
        "processed_folder": str(folders["processed"]),
        "polling_interval": POLLING_INTERVAL,
    }


class Dispatcher:
    """Sends the messages of queued jobs."""

    def __init__(self, celery: Celery, database: Database) -> None:
        self._celery = celery
        self._database = database

    def send(self, job_id: str) -> bool:
        """Hand one message to the broker; false if that failed, which is only a delay."""
        try:
            self._celery.send_task(TASK, [job_id], retry=False)
            with self._database.write() as session:
                outbox.mark_sent(session, job_id)
        except (KombuError, OperationalError, SQLAlchemyError, OSError) as error:
            log.warning("The message of job %s was not sent; it waits for the next try: %r", job_id, error)
            return False
        return True

    def send_due(self, *, also_lost: bool, limit: int = 100) -> int:
        """Send what was never sent or may have been lost; returns how many were sent."""
        with self._database.read() as session:
            due = outbox.due(session, limit, also_lost=also_lost)
        sent = 0
        for job_id in due:
            if not self.send(job_id):
                break
            sent += 1
        return sent

    def check(self) -> None:
        """Fail if the broker cannot be reached."""
        with self._celery.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=3)
