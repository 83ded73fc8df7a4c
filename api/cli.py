"""`normlab-server`: the service and its parts."""

import os
import sys
from typing import Annotated

import typer
from pydantic import ValidationError

from api.settings import ApiSettings
from api.up import run_all
from db import migrate as migrations
from db.engine import Database
from db.settings import Settings, WorkerSettings

app = typer.Typer(help="normlab: training as a service.", no_args_is_help=True, add_completion=False)


@app.command()
def up() -> None:
    """Migrate, then run API and worker on this machine until Ctrl-C."""
    migrate()
    sys.exit(run_all(ApiSettings(), WorkerSettings()))


@app.command()
def api(
    access_log: Annotated[bool, typer.Option(help="Log every request.")] = False,
) -> None:
    """Run the API alone."""
    # Here, because the other commands are quicker without the application.
    from api.server import serve

    serve(ApiSettings(), access_log=access_log)


@app.command()
def worker() -> None:
    """Run a worker alone: NORMLAB_CONCURRENCY jobs at a time."""
    WorkerSettings()  # a wrong setting is said here
    os.execv(sys.executable, [sys.executable, "-m", "worker"])


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    database = Database(Settings().database_url)
    migrations.upgrade(database)
    database.dispose()


def main() -> None:
    """Entry point; a wrong setting is said in a line each, without a traceback."""
    try:
        app()
    except ValidationError as error:
        for wrong in error.errors():
            name = "_".join(["NORMLAB", *(str(part).upper() for part in wrong["loc"])])
            print(f"{name}: {wrong['msg']}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
