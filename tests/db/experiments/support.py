"""Experiments to test with."""

from typing import Any

from db import lease
from db.engine import Database
from db.experiments import commands, launch
from db.experiments.arms import expand
from db.experiments.declaration import Declaration
from db.experiments.progress import progress
from db.experiments.submit import Submission, submit
from db.experiments.tables import Cell
from db.lease import Failure, Hold
from db.status import FailureCode
from tests.db.support import claim, spec_values

DIVERGED = Failure(code=FailureCode.DIVERGED, message="m", hint="h", step=1)
LOST = Failure(code=FailureCode.WORKER_LOST, message="m", hint="h")


def declared(**changes: Any) -> Declaration:
    """Two norms, two learning rates and two seeds: eight cells."""
    values = {
        "name": "an experiment",
        "base": {key: value for key, value in spec_values().items() if key != "norm"},
        "axes": {"norm": ["none", "batch"], "optimizer.lr": [0.1, 0.3]},
        "seeds": [0, 1],
    }
    return Declaration.model_validate(values | changes)


def post(database: Database, **changes: Any) -> Submission:
    """Submit an experiment, without launching it."""
    declaration = declared(**changes)
    with database.write() as session:
        return submit(session, declaration, expand(declaration))


def launched(database: Database, experiment_id: str) -> list[str]:
    """The jobs that a launch queues."""
    with database.write() as session:
        experiment = launch.hold(session, experiment_id)
        assert experiment is not None
        return launch.launch(session, experiment)


def asked(database: Database, experiment_id: str, command: commands.Command) -> commands.Asked:
    with database.write() as session:
        return command(session, commands.get(session, experiment_id, keep=True))


def cells_of(database: Database, experiment_id: str) -> list[Cell]:
    with database.read() as session:
        query = session.query(Cell).filter_by(experiment_id=experiment_id).order_by(Cell.number)
        found = query.all()
        session.expunge_all()
        return found


def counts(database: Database, experiment_id: str) -> dict[str, int]:
    """Cells by status."""
    with database.read() as session:
        found = progress(session, commands.get(session, experiment_id)).cells
    return {status.value: count for status, count in found.items()}


def status(database: Database, experiment_id: str) -> str:
    with database.read() as session:
        return progress(session, commands.get(session, experiment_id)).status.value


def begun(database: Database) -> Hold:
    """The next job, as it makes its first step."""
    hold = claim(database)
    with database.write() as session:
        lease.start_from(session, hold, 0, 0)
        lease.begin(session, hold)
    return hold


def run_next(database: Database, failure: Failure | None = None, **recorded: Any) -> Hold:
    """Claim the next job and end it, well or with a failure, with some columns recorded."""
    hold = begun(database)
    with database.write() as session:
        lease.record(session, hold, samples_per_second=1.0, **recorded)
        if failure is None:
            lease.succeed(session, hold)
        else:
            lease.fail(session, hold, failure)
    return hold


def run_all(database: Database, experiment_id: str) -> int:
    """Launch and end jobs until no cell waits; returns how many."""
    done = 0
    while launched(database, experiment_id) or counts(database, experiment_id).get("queued"):
        while counts(database, experiment_id).get("queued"):
            run_next(database)
            done += 1
    return done
