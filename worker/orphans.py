"""Files of the store that no row names: of writers that were killed, and of jobs that were deleted meanwhile."""

import logging
from collections.abc import Iterator
from itertools import islice

from db import orphans
from db.engine import Database
from db.store import Store

log = logging.getLogger(__name__)

#: A younger file may belong to a checkpoint or a model that is about to be committed.
OLD_SECONDS = 3600.0
#: Keys that are asked for at once.
BATCH = 500


def sweep(database: Database, store: Store) -> int:
    """Delete what has lain for an hour without a row that names it; returns how many files.

    Any number of workers may sweep at the same time.
    """
    deleted = 0
    for folder in orphans.FOLDERS:
        for keys in _batches(store.list_older_than(folder, OLD_SECONDS)):
            # Asked after the listing: a row that came in between counts.
            with database.read() as session:
                named = orphans.named(session, keys)
            gone = [key for key in keys if key not in named]
            store.delete(gone)
            deleted += len(gone)
    if deleted:
        log.info("Deleted %d files of the store that nothing names.", deleted)
    return deleted


def _batches(keys: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(keys, BATCH)):
        yield batch
