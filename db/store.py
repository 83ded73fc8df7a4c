"""Files behind one door: a local folder or an object store, by address."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
import uuid_utils
from obstore.store import LocalStore, ObjectStore, from_url

from db.errors import FileMissing

if TYPE_CHECKING:  # the type has no name at run time
    from obstore import GetResult

#: Bytes that a download hands on at a time.
PART_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """Where a file lies, and what it holds."""

    key: str
    sha256: str
    size_bytes: int


class Store:
    """Immutable files by key. A file appears whole or not at all."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._store: ObjectStore
        if parts.scheme == "file":
            folder = Path(url2pathname(parts.path))
            folder.mkdir(parents=True, exist_ok=True)
            self._store = LocalStore(folder)
        else:
            self._store = from_url(url)

    def put(self, key: str, data: bytes) -> StoredFile:
        """Write a file."""
        obstore.put(self._store, key, data)
        return StoredFile(key=key, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))

    def get(self, key: str) -> bytes:
        """The whole of a file."""
        return bytes(obstore.get(self._store, key).bytes())

    def open(self, key: str, start: int, length: int) -> AsyncIterator[bytes]:
        """`length` bytes of a file from `start`, in parts.

        Raises:
            FileMissing: there is no such file; raised here, before the first part is asked for.
        """
        if not length:
            return _parts(None)
        try:
            return _parts(obstore.get(self._store, key, options={"range": (start, start + length)}))
        except FileNotFoundError as error:
            raise FileMissing(key) from error

    def delete(self, keys: list[str]) -> None:
        """Remove files; one that is gone already is no error, in a folder as in object stores."""
        for key in keys:
            with suppress(FileNotFoundError):
                obstore.delete(self._store, key)

    def check(self) -> None:
        """Fail if a file cannot be written, read and removed."""
        key = f"checks/{uuid_utils.uuid7().hex}"
        self.put(key, b"ok")
        self.get(key)
        self.delete([key])


async def _parts(result: "GetResult | None") -> AsyncIterator[bytes]:
    if result is not None:
        async for part in result.stream(min_chunk_size=PART_BYTES):
            yield bytes(part)
