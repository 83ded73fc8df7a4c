"""How alembic reaches the database: on the connection that `db.migrate` hands over, or by the settings."""

import sqlalchemy as sa
from alembic import context

from db import service_tables, tables  # noqa: F401 - fill the metadata
from db.base import Base
from db.engine import Database
from db.experiments import tables as experiment_tables  # noqa: F401 - likewise
from db.settings import Settings


def _run(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


given: sa.Connection | None = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    with Database(Settings().database_url).engine.begin() as own:
        _run(own)
