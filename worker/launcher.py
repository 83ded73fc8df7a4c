"""Makes jobs of the cells of experiments, as far as each may have some."""

import logging
import threading

from db.engine import Database
from db.experiments import commands, launch
from db.experiments.status import Wanted
from worker import search
from worker.queue import Dispatcher

log = logging.getLogger(__name__)

#: Seconds between looks: what an experiment with few jobs at a time may lose between two of them.
INTERVAL = 0.25


class Launcher:
    """A thread of the worker. Any number of workers may have one: the row of an experiment is one's at a time."""

    def __init__(self, database: Database, dispatcher: Dispatcher) -> None:
        self._database = database
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
            if experiment.declaration["search"] is not None:
                search.ask(session, experiment, launch.room(session, experiment))
            jobs = launch.launch(session, experiment)
        # After the commit: a worker that is woken must find the rows.
        for job_id in jobs:
            self._dispatcher.send(job_id)
        return len(jobs)
