"""How every process of the service logs: lines on standard error."""

import logging

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def set_up_logging() -> None:
    """Call once, when a process starts."""
    logging.basicConfig(level=logging.INFO, format=FORMAT)
    # Alembic and kombu tell of their ordinary business.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("kombu.connection").setLevel(logging.ERROR)
