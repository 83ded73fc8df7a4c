"""How every process of the service logs: lines on standard error."""

import logging
from typing import TextIO

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def set_up_logging(stream: TextIO | None = None) -> None:
    """Call when a process starts. `stream` takes the place of standard error; a later call changes nothing."""
    logging.basicConfig(level=logging.INFO, format=FORMAT, stream=stream)
    # Alembic and kombu tell of their ordinary business.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("kombu.connection").setLevel(logging.ERROR)
