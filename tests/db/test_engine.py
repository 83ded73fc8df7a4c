"""The two kinds of transaction."""

import sqlite3
import threading

import pytest
import sqlalchemy as sa

from db import migrate
from db.base import now
from db.engine import Database
from db.tables import Job
from tests.db.support import crashing, job_of, new_job
from worker.patience import AWAY


def names(session) -> list[str | None]:
    return list(session.scalars(sa.select(Job.name).order_by(Job.id)))


def test_a_write_commits_when_its_block_ends(database):
    job_id = new_job(database, name="kept")
    assert job_of(database, job_id).name == "kept"


def test_a_write_that_raises_leaves_nothing(database):
    job_id = new_job(database, name="before")
    with crashing(database) as session:
        session.execute(sa.update(Job).values(name="after"))
    assert job_of(database, job_id).name == "before"


def test_what_is_changed_in_a_read_is_rolled_back(database):
    job_id = new_job(database, name="before")
    with database.read() as session:
        session.execute(sa.update(Job).values(name="after"))
        assert names(session) == ["after"]
    assert job_of(database, job_id).name == "before"


def test_a_read_stays_on_one_snapshot_while_others_write(database):
    new_job(database, name="one")
    with database.read() as session:
        assert names(session) == ["one"]
        new_job(database, name="two")
        assert names(session) == ["one"]
    with database.read() as session:
        assert names(session) == ["one", "two"]


def test_concurrent_read_and_then_write_transactions_wait_for_one_another(database):
    job_id = new_job(database)
    start, errors = threading.Barrier(4), []

    def count() -> None:
        start.wait()
        for _ in range(10):
            try:
                with database.write() as session:
                    step = session.scalar(sa.select(Job.step).where(Job.id == job_id).with_for_update())
                    session.execute(sa.update(Job).where(Job.id == job_id).values(step=step + 1))
            except sa.exc.OperationalError as error:
                errors.append(error)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert job_of(database, job_id).step == 40


def test_opening_a_new_file_waits_while_another_process_prepares_it(tmp_path):
    path = tmp_path / "normlab.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # the lock that is held while a file is switched to its journal mode
    database = Database(f"sqlite:///{path}")
    errors: list[Exception] = []

    def read() -> None:
        try:
            with database.read() as session:
                session.execute(sa.text("SELECT 1"))
        except sa.exc.OperationalError as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join(timeout=0.2)  # time enough to fail, not to wait for the lock in vain
    other.execute("COMMIT")
    thread.join()
    other.close()
    database.dispose()
    assert errors == []


def test_foreign_keys_and_the_write_ahead_log_are_on(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'deep' / 'folder' / 'normlab.db'}")
    with database.read() as session:
        assert session.scalar(sa.text("PRAGMA foreign_keys")) == 1
        assert session.scalar(sa.text("PRAGMA journal_mode")) == "wal"
    database.dispose()


def test_a_transaction_of_a_process_that_stands_still_gives_its_rows_back(postgres_schemas, monkeypatch):
    database = postgres_schemas()
    migrate.upgrade(database)
    job_id = new_job(database, name="before")
    monkeypatch.setattr("db.engine.POSTGRES_IDLE_TIMEOUT", 0.2)
    impatient = Database(database.url.render_as_string(hide_password=False))
    with impatient.read() as session:  # its connection is made, with this patience, and goes to the pool
        assert names(session) == ["before"]
    monkeypatch.undo()

    def late() -> None:
        with impatient.write() as asleep:
            asleep.execute(sa.update(Job).values(name="late"))
            with database.write() as other:  # waits for the row
                other.execute(sa.update(Job).values(name="other"))
            asleep.execute(sa.update(Job).values(name="later"))

    with pytest.raises(AWAY):
        late()
    impatient.dispose()
    assert job_of(database, job_id).name == "other"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_addresses_of_postgres_may_have_either_scheme(scheme):
    database = Database(f"{scheme}://user:secret@host.example/name")
    assert not database.is_sqlite
    assert database.engine.dialect.driver == "psycopg"
    assert database.url.password == "secret"


def test_the_databases_clock_moves_and_takes_an_offset(database):
    with database.read() as session:
        before, first = session.execute(sa.select(now(-90.5), now())).one()
        later = session.scalar(sa.select(now()))
    assert (first - before).total_seconds() == pytest.approx(90.5, abs=0.1)
    assert first.tzinfo is not None
    assert later >= first


def test_a_postgres_that_is_cut_off_is_given_up_in_seconds_unless_the_address_says_otherwise(shared_postgres):
    given = Database(shared_postgres.url.update_query_dict({"connect_timeout": "7"}).render_as_string(False))
    found = []
    for database in (shared_postgres, given):
        with database.engine.connect() as connection:
            found.append(connection.connection.driver_connection.info.get_parameters())
    given.dispose()
    assert [parameters["connect_timeout"] for parameters in found] == ["5", "7"]
    assert all((each["keepalives_idle"], each["tcp_user_timeout"]) == ("10", "15000") for each in found)
