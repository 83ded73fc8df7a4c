"""Bring a database to the newest schema."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from db.engine import Database

#: Any number, the same for all: migrations of several processes take turns.
ADVISORY_LOCK = 0x6E6F726D


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def upgrade(database: Database) -> None:
    """Run the revisions that are missing, in one transaction; safe to call from several processes."""
    with _alone(database) as connection:
        command.upgrade(_config(connection), "head")


def downgrade(database: Database, revision: str) -> None:
    """Go back to an older revision, in one transaction; what the older schema cannot hold is lost."""
    with _alone(database) as connection:
        command.downgrade(_config(connection), revision)


def is_current(database: Database) -> bool:
    """Whether the newest revision has been run."""
    with database.engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    return current == ScriptDirectory.from_config(_config()).get_current_head()


@contextmanager
def _alone(database: Database) -> Iterator[sa.Connection]:
    """A transaction that no other migration runs beside."""
    with database.engine.execution_options(normlab_write=True).connect() as connection:
        if not database.is_sqlite:
            with connection.begin():
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
                yield connection
            return
        # SQLite changes a table by making it anew: to drop the old one must not drop the rows that point to it.
        # Only outside of a transaction can this be switched, so not through SQLAlchemy, which would begin one.
        driver = cast(sqlite3.Connection, connection.connection.driver_connection)
        driver.execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.begin():
                yield connection
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
                if broken:
                    raise RuntimeError(f"The migration would leave rows without what they point to: {broken[:3]}")
        finally:
            driver.execute("PRAGMA foreign_keys=ON")
