"""Makes jobs of the cells of experiments, as far as each may have some."""

import logging
import threading

from sqlalchemy.orm import Session

from db.engine import Database
from db.errors import NormlabError
from db.experiments import commands, launch
from db.experiments.status import Wanted
from db.experiments.tables import Experiment
from worker import search
from worker.queue import Dispatcher

log = logging.getLogger(__name__)

#: Seconds between looks: what an experiment with few jobs at a time may lose between two of them.
INTERVAL = 0.25


class Launcher:
    """A thread of the worker. Any number of workers may have one: the row of an experiment is one's at a time."""

    def __init__(self, database: Database, dispatcher: Dispatcher, memory_limit_bytes: int) -> None:
        self._database = database
        self._memory_limit_bytes = memory_limit_bytes
        self._dispatcher = dispatcher
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="launcher", daemon=True)

    def start(self) -> None:
        """Look for cells from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End after the look that is under way."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(INTERVAL):
            try:
                self.look()
            except Exception:  # whatever went wrong this time: experiments must not wait for ever
                log.exception("A look for cells failed.")

    def look(self) -> int:
        """Serve every experiment that may have something to do; returns how many jobs were queued."""
        with self._database.read() as session:
            due = launch.due(session)
        queued = 0
        for experiment_id in due:
            try:
                queued += self._serve(experiment_id)
            except Exception:  # one that is broken must not keep the others
                log.exception("Experiment %s was not served.", experiment_id)
        return queued

    def _serve(self, experiment_id: str) -> int:
        with self._database.write() as session:
            experiment = launch.hold(session, experiment_id)
            if experiment is None:
                return 0
            if experiment.wanted is Wanted.CANCEL:
                commands.cancel_jobs(session, experiment)
            self._ask(session, experiment)
            jobs = launch.launch(session, experiment)
        # After the commit: a worker that is woken must find the rows.
        for job_id in jobs:
            self._dispatcher.send(job_id)
        return len(jobs)

    def _ask(self, session: Session, experiment: Experiment) -> None:
        """Have a search choose what to try next; if that fails, the cells that wait are launched all the same."""
        if experiment.declaration["search"] is None or experiment.wanted is not Wanted.RUN:
            return
        try:
            with session.begin_nested():
                search.ask(session, experiment, launch.room(session, experiment), self._memory_limit_bytes)
        except (NormlabError, ValueError):
            log.exception("The search of experiment %s failed.", experiment.id)
