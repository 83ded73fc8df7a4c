"""Files of the store that no row names: of writers that were killed, and of jobs that were deleted meanwhile."""

import logging
from collections.abc import Iterator
from itertools import islice
from threading import Event

from db import installation, orphans
from db.engine import Database
from db.errors import FileMissing
from db.store import Store

log = logging.getLogger(__name__)

#: A younger file may belong to a checkpoint or a model that is about to be committed.
OLD_SECONDS = 3600.0
#: Keys that are asked for at once.
BATCH = 500
#: Says whose store it is: the id of the installation that swept it first.
OWNER = "normlab.id"
#: Files of jobs that cannot all be leftovers: where no row names a single one, it is the rows that are lost.
MANY = 100


def sweep(database: Database, store: Store, stop: Event | None = None) -> int:
    """Delete what has lain for an hour without a row that names it; returns how many files.

    Any number of workers may sweep at the same time; `stop` ends it between two batches. A store that seems to be
    another installation's is left alone: to a database that is new, or set by mistake, every file is a leftover.
    """
    if not _is_ours(database, store):
        return 0
    deleted = 0
    for folder in orphans.FOLDERS:
        for keys in _batches(store.list_older_than(folder, OLD_SECONDS)):
            if stop is not None and stop.is_set():
                return deleted
            # Asked after the listing: a row that came in between counts.
            with database.read() as session:
                named = orphans.named(session, keys)
            gone = [key for key in keys if key not in named]
            store.delete(gone)
            deleted += len(gone)
    if deleted:
        log.info("Deleted %d files of the store that nothing names.", deleted)
    return deleted


def _is_ours(database: Database, store: Store) -> bool:
    """Whether the store is this database's. One without an owner becomes so, unless its files speak against it."""
    with database.write() as session:
        own = installation.identify(session)
    owner = _owner(store)
    if owner not in (own, None):
        log.error(
            "The store belongs to installation %s, and this is %s: its leftovers stay. Give each installation a "
            "store of its own; if the store is right and its %s is not, delete that file.",
            owner,
            own,
            OWNER,
        )
        return False
    strange = _strange(database, store)
    if strange >= (1 if owner is None else MANY):
        log.error(
            "The store holds %d files of jobs, and the database names none of them: all leftovers stay. Is it the "
            "right database?",
            strange,
        )
        return False
    if owner is None:
        store.put(OWNER, own.encode())
    return True


def _owner(store: Store) -> str | None:
    try:
        return store.get(OWNER).decode(errors="replace").strip()
    except FileMissing:
        return None


def _strange(database: Database, store: Store) -> int:
    """How many files of jobs the store holds if no row names a single one of them; otherwise 0."""
    count = 0
    for keys in _batches(store.list_older_than(orphans.JOBS, 0)):
        with database.read() as session:
            if orphans.named(session, keys):
                return 0
        count += len(keys)
    return count


def _batches(keys: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(keys, BATCH)):
        yield batch
