"""A migrated, empty database for each test: SQLite in a file, and a real Postgres."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
import sqlalchemy as sa

from db import migrate
from db.base import Base
from db.engine import Database

BACKENDS = ["sqlite", "postgres"]


def in_schema(server_url: str, schema: str) -> str:
    """The Postgres address with a schema of its own, so that nothing else in that database is touched."""
    url = sa.make_url(server_url).update_query_dict({"options": f"-csearch_path={schema}"})
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgres_schemas(postgres_url) -> Iterator[Callable[[], Database]]:
    """A function that makes an empty schema and returns the database on it; all are dropped at the end."""
    server = Database(postgres_url)
    made: list[tuple[str, Database]] = []

    def make() -> Database:
        schema = f"normlab_test_{uuid4().hex}"
        with server.engine.begin() as connection:
            connection.execute(sa.schema.CreateSchema(schema))
        made.append((schema, Database(in_schema(postgres_url, schema))))
        return made[-1][1]

    yield make
    for schema, database in made:
        database.dispose()
        with server.engine.begin() as connection:
            connection.execute(sa.schema.DropSchema(schema, cascade=True))
    server.dispose()


@pytest.fixture(params=BACKENDS)
def empty_database(request, tmp_path) -> Iterator[Database]:
    """A database without a single table."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
        yield database
        database.dispose()
    else:
        yield request.getfixturevalue("postgres_schemas")()


# One for all tests: with an engine of its own, each test would compile every statement anew.
@pytest.fixture(scope="session")
def shared_sqlite(tmp_path_factory) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('db') / 'normlab.db'}")
    migrate.upgrade(database)
    yield database
    database.dispose()


@pytest.fixture(scope="session")
def shared_postgres(postgres_schemas) -> Database:
    database = postgres_schemas()
    migrate.upgrade(database)
    return database


@pytest.fixture(params=BACKENDS)
def database(request) -> Database:
    """A migrated database without a row."""
    shared: Database = request.getfixturevalue(f"shared_{request.param}")
    with shared.write() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(sa.delete(table))
    return shared
