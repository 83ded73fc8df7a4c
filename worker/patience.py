"""Transactions that outlast a database that is away for a while."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from db.engine import Database

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds between tries, and how long they are made.
TRY_EVERY = 0.5
TRY_FOR = 60.0

#: What says that the database is away or too busy, not that it refuses.
AWAY = (OperationalError, InterfaceError, PoolTimeout)


def patiently(database: Database, write: Callable[[Session], T]) -> T:
    """Run a transaction; a database that does not answer is tried again for a while.

    Raises:
        OperationalError: it has not answered for `TRY_FOR` seconds.
    """
    deadline = time.monotonic() + TRY_FOR
    while True:
        try:
            with database.write() as session:
                return write(session)
        except AWAY as error:
            if time.monotonic() > deadline:
                raise
            log.warning("The database does not answer; trying again: %s", error)
            time.sleep(TRY_EVERY)
