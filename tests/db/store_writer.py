"""A process that writes files until it is killed or refused: `python -m tests.db.store_writer URL BYTES`."""

import hashlib
import os
import sys
from itertools import count

from db.errors import StorageFull
from db.store import Store

HASH_BYTES = 32


def is_whole(data: bytes) -> bool:
    """Files of the writer end with the sha256 of what is before."""
    return hashlib.sha256(data[:-HASH_BYTES]).digest() == data[-HASH_BYTES:]


def main(url: str, size_bytes: int) -> None:
    """Says `ready` once its first file is there, or the code of the refusal."""
    store = Store(url)
    fillings = [os.urandom(size_bytes - HASH_BYTES) for _ in range(2)]
    # Made before: a kill is to come in the middle of a write. Three names: most writes replace a file.
    contents = [filling + hashlib.sha256(filling).digest() for filling in fillings]
    for number in count():
        try:
            store.put(f"files/{number % 3}", contents[number % 2])
        except StorageFull as error:
            sys.stdout.write(f"{error.code} {error.needed_bytes}\n")
            return
        if number == 0:
            sys.stdout.write("ready\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
