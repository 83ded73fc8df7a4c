"""The database: engines and the two kinds of transaction."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from psycopg.errors import IdleInTransactionSessionTimeout
from sqlalchemy.orm import Session

#: Seconds that a writer waits for SQLite's one write lock.
SQLITE_BUSY_TIMEOUT = 30.0
#: Seconds after which Postgres ends a transaction whose process does nothing: one that stands still, or whose
#: machine is cut off, would keep the row of its job, and no other worker could take the job over.
POSTGRES_IDLE_TIMEOUT = 30.0
#: After how long a server that was cut off without a word is given up, where the address does not say: libpq's
#: connection parameters, in seconds, the last in milliseconds. Without them a call may wait for many minutes.
POSTGRES_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15000,
}


class Database:
    """Sessions on one database. `read()` may run beside others; `write()` commits at its end."""

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        if self.url.drivername == "postgres":
            self.url = self.url.set(drivername="postgresql")
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = self._sqlite_engine() if self.is_sqlite else self._postgres_engine()
        # One snapshot for all queries of a read; SQLite's transactions are so by nature.
        snapshot = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._reads = self.engine.execution_options(**snapshot)
        self._writes = self.engine.execution_options(normlab_write=True)

    def _sqlite_engine(self) -> sa.Engine:
        if self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(self.url, connect_args={"timeout": SQLITE_BUSY_TIMEOUT})
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _postgres_engine(self) -> sa.Engine:
        patience = {name: value for name, value in POSTGRES_PATIENCE.items() if name not in self.url.query}
        engine = sa.create_engine(self.url, pool_pre_ping=True, connect_args=patience)
        sa.event.listen(engine, "connect", _prepare_postgres)
        sa.event.listen(engine, "handle_error", _after_an_idle_timeout)
        return engine

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one snapshot; what is changed in it is rolled back."""
        with Session(self._reads) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits when the block ends and rolls back when it raises."""
        with Session(self._writes, expire_on_commit=False) as session, session.begin():
            yield session

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def _prepare_postgres(connection: Any, _: Any) -> None:
    connection.execute(f"SET idle_in_transaction_session_timeout = '{POSTGRES_IDLE_TIMEOUT * 1000:.0f}ms'")
    connection.commit()


def _after_an_idle_timeout(context: sa.ExceptionContext) -> sa.exc.OperationalError | None:
    # Like any lost connection: the driver counts it among the server's own faults, which are not tried again.
    error = context.original_exception
    if not isinstance(error, IdleInTransactionSessionTimeout):
        return None
    context.is_disconnect = True
    return sa.exc.OperationalError(context.statement, context.parameters, error, connection_invalidated=True)


def _prepare_sqlite(connection: Any, _: Any) -> None:
    # The driver's own BEGIN comes too late to be IMMEDIATE: transactions are begun below.
    connection.isolation_level = None
    _switch_to_wal(connection)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _switch_to_wal(connection: Any) -> None:
    """Waits while another process prepares a new file; SQLite's own patience does not hold for this switch."""
    deadline = time.monotonic() + SQLITE_BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: sa.Connection) -> None:
    # A deferred transaction that reads and then writes fails as "locked" at once when another wrote between;
    # one that takes the write lock first waits its turn.
    write = connection.get_execution_options().get("normlab_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
