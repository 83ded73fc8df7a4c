"""Files of a write that came to nothing, or seemed to."""

import logging
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from db import orphans
from db.engine import Database
from db.errors import StorageFailed
from db.store import Store

log = logging.getLogger(__name__)


def remove(database: Database, store: Store, keys: Sequence[str]) -> None:
    """Delete those of some files that no row names.

    Where the answer to a commit was lost, the write may have come through all the same: so the rows are asked, not
    the error. What cannot be asked or deleted now lies there until the next sweep of orphans.
    """
    if not keys:
        return
    try:
        with database.read() as session:
            named = orphans.named(session, keys)
        store.delete([key for key in keys if key not in named])
    except (SQLAlchemyError, StorageFailed):
        log.warning("Files of a write that failed are left to the sweep of orphans.", exc_info=True)
