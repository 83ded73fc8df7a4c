"""Which rows of Postgres experiments keep, and in which order: those who meet there wait, and do not deadlock."""

from threading import Thread

import pytest
import sqlalchemy as sa

from db import commands as job_commands
from db.base import Base
from db.experiments import commands, launch
from db.tables import Job
from tests.db.experiments.support import LOST, asked, counts, launched, post, run_next
from tests.services import wait_for

SMALL = {"axes": {"norm": ["none"]}, "seeds": 2}


@pytest.fixture
def database(shared_postgres):
    with shared_postgres.write() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(sa.delete(table))
    return shared_postgres


def waits_for_a_row(database) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with database.read() as session:
        return bool(session.scalar(sa.text(waiting)))


@pytest.mark.parametrize("command", [commands.retry_failed, commands.pause])
def test_a_command_waits_for_whoever_deletes_a_job_and_keeps_no_cell_meanwhile(database, command):
    made = post(database, **SMALL).experiment
    launched(database, made.id)
    lost = run_next(database, LOST)
    answers = []
    told = Thread(target=lambda: answers.append(asked(database, made.id, command)))
    with database.write() as session:
        # As by another command: the row is kept first, and deleted with those of its cells at the end.
        session.scalars(sa.select(Job).order_by(Job.id).with_for_update()).all()
        told.start()
        wait_for(lambda: waits_for_a_row(database), timeout=20)
        job_commands.delete(session, lost.job_id)
    told.join(20)
    assert [answer.is_new for answer in answers] == [True]
    assert counts(database, made.id) == (
        {"queued": 2} if command is commands.retry_failed else {"waiting": 1, "deleted": 1}
    )


def test_a_launch_that_reuses_jobs_does_not_wait_for_whoever_stops_them(database):
    first = post(database, **SMALL).experiment
    launched(database, first.id)
    run_next(database), run_next(database)
    second = post(database, name="another", reuse=True, **SMALL).experiment
    with database.write() as stopping:
        assert len(launch.keep_jobs(stopping, commands.get(stopping, first.id))) == 2
        with database.write() as session:
            session.execute(sa.text("SET LOCAL lock_timeout = '5s'"))
            launch.launch(session, commands.get(session, second.id, keep=True))
    assert counts(database, second.id) == {"succeeded": 2}
