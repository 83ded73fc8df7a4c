"""The migrations: harmless to repeat, reversible, and the same schema as the tables in the code."""

import re
import subprocess
import sys
import warnings
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from db import chunks, migrate, service_tables, tables  # noqa: F401 - fill the metadata
from db.base import Base
from db.chunks import ChunkWriter
from db.engine import Database
from db.experiments import tables as experiment_tables  # noqa: F401 - likewise
from tests.db.streams import rows_of, write
from tests.db.support import claimed_job
from tests.db.test_afterwork import ask, ended_job

TABLES = set(Base.metadata.tables)


def table_names(database: Database) -> set[str]:
    return set(sa.inspect(database.engine).get_table_names()) - {"alembic_version"}


def downgrade(database: Database, revision: str = "base") -> None:
    migrate.downgrade(database, revision)


def test_an_empty_database_is_not_current_and_a_migrated_one_is(empty_database):
    assert not migrate.is_current(empty_database)
    migrate.upgrade(empty_database)
    assert migrate.is_current(empty_database)
    assert table_names(empty_database) == TABLES


def test_an_upgrade_may_be_repeated(empty_database):
    migrate.upgrade(empty_database)
    before = sorted(sa.inspect(empty_database.engine).get_indexes("events"), key=repr)
    migrate.upgrade(empty_database)
    assert migrate.is_current(empty_database)
    assert sorted(sa.inspect(empty_database.engine).get_indexes("events"), key=repr) == before


UPGRADE = """
import sys
from db import migrate
from db.engine import Database
print("ready", flush=True)
sys.stdin.readline()
migrate.upgrade(Database(sys.argv[1]))
"""


def test_several_processes_may_upgrade_at_once(empty_database):
    url = empty_database.url.render_as_string(hide_password=False)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with empty_database.engine.connect():  # the file is there, as it is for all but the very first process
        other = subprocess.Popen([sys.executable, "-c", UPGRADE, url], **pipes)
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("go\n")
        other.stdin.flush()
        migrate.upgrade(empty_database)
        _, errors = other.communicate()
    assert (other.returncode, errors[-500:]) == (0, "")
    assert migrate.is_current(empty_database)


def test_a_downgrade_removes_every_table_and_an_upgrade_brings_them_back(empty_database):
    migrate.upgrade(empty_database)
    downgrade(empty_database)
    assert table_names(empty_database) == set()
    assert not migrate.is_current(empty_database)
    migrate.upgrade(empty_database)
    assert table_names(empty_database) == TABLES


def test_numbers_outlive_a_new_kind_of_them_and_go_with_it(empty_database):
    def kinds() -> list[str]:
        with empty_database.engine.connect() as connection:
            return sorted(connection.scalars(sa.text("SELECT kind FROM chunks")))

    migrate.upgrade(empty_database)
    hold = claimed_job(empty_database)
    for kind in (chunks.METRICS, chunks.PROBES):
        write(empty_database, ChunkWriter(hold, kind, "stream", 10), [rows_of(3)])
    assert kinds() == ["metrics", "probes"]
    downgrade(empty_database, "0001")
    assert kinds() == ["metrics"]
    migrate.upgrade(empty_database)
    assert kinds() == ["metrics"]


def test_files_of_an_older_installation_stay_what_they_were(empty_database):
    """Before recalibrations a file had no status: all were of the training, and ready."""

    def files() -> list[dict[str, Any]]:
        with empty_database.engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.text("SELECT * FROM artifacts")).mappings()]

    migrate.upgrade(empty_database)
    job_id = ended_job(empty_database, 5)
    (before,) = files()
    ask(empty_database, job_id)
    downgrade(empty_database, "0002")
    (old,) = files()
    assert "status" not in old
    assert old.items() <= before.items()
    migrate.upgrade(empty_database)
    assert files() == [before]


def is_index_that_sqlite_does_not_reflect(difference: tuple) -> bool:
    return difference[0] in ("add_index", "remove_index") and difference[1].name == "ix_jobs_claim"


def test_the_migrated_schema_is_that_of_the_tables_in_the_code(database):
    with database.engine.connect() as connection, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based index")
        warnings.filterwarnings("ignore", ".*autogenerate skipping metadata-specified expression-based index.*")
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        differences = compare_metadata(context, Base.metadata)
    if database.is_sqlite:
        differences = [each for each in differences if not is_index_that_sqlite_does_not_reflect(each)]
    assert differences == []


@pytest.mark.parametrize("table", sorted(TABLES))
def test_the_migrated_checks_are_those_of_the_tables_in_the_code(database, table):
    # Alembic's comparison leaves CHECKs out.
    inspector = sa.inspect(database.engine)
    found = {check["name"]: check["sqltext"] for check in inspector.get_check_constraints(table)}
    expected = {
        check.name: str(check.sqltext.compile(database.engine, compile_kwargs={"literal_binds": True}))
        for check in Base.metadata.tables[table].constraints
        if isinstance(check, sa.CheckConstraint)
    }
    assert set(found) == set(expected)
    if database.is_sqlite:  # Postgres writes them anew in its own way
        assert {name: plain(text, table) for name, text in found.items()} == {
            name: plain(text, table) for name, text in expected.items()
        }


def plain(text: str, table: str) -> str:
    """Without the table's name, which the code's CHECKs of enums have."""
    return re.sub(r"\s+", " ", text).replace(f"{table}.", "").strip()


def test_the_claim_index_holds_queued_jobs_in_the_order_of_claims(database):
    query = (
        "SELECT sql FROM sqlite_master WHERE name = 'ix_jobs_claim'"
        if database.is_sqlite
        else "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_jobs_claim' AND schemaname = current_schema()"
    )
    with database.engine.connect() as connection:
        (definition,) = connection.scalars(sa.text(query)).all()
    assert re.search(r"\(priority DESC, run_at, id\)\s+WHERE .*status.*'queued'", definition)
