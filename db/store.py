"""Files behind one door: a local folder or an object store, by address."""

import errno
import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
import uuid_utils
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from db.errors import FileDamaged, FileMissing, StorageFailed, StorageFull
from db.folder import Folder

if TYPE_CHECKING:  # the type has no name at run time
    from obstore import GetResult

#: Bytes that are handed on at a time.
PART_BYTES = 1 << 20

#: Names that every store takes as they are; none begins as a temporary file does.
KEY = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)*", re.ASCII)

#: The disk, the quota, or the size that a process may give to a file (RLIMIT_FSIZE; Python ignores its signal).
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """Where a file lies, and what it holds."""

    key: str
    sha256: str
    size_bytes: int


class Store:
    """Immutable files by key. A file appears whole or not at all, and outlives a loss of power once it is put.

    Every method may raise StorageFailed: the store cannot be reached, or refuses.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._store: ObjectStore
        #: Writes go through it where there is one, because obstore does not flush files to the disk.
        self._folder: Folder | None = None
        if parts.scheme == "file":
            self._folder = Folder(Path(url2pathname(parts.path)))
            self._store = LocalStore(self._folder.root, automatic_cleanup=True)
        else:
            self._store = from_url(url)

    def put(self, key: str, data: bytes) -> StoredFile:
        """Write a file, or replace it.

        Raises:
            StorageFull: there is no room for it; what was there before is untouched.
        """
        _check(key)
        with self._told(len(data)):
            if self._folder:
                self._folder.write(key, data)
            else:
                obstore.put(self._store, key, data)
        return StoredFile(key=key, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))

    def copy(self, key: str, to_key: str) -> None:
        """Make `to_key` hold what `key` holds; the bytes do not pass through this process where that is possible.

        Raises:
            FileMissing: there is no file `key`.
            StorageFull: there is no room for it.
        """
        _check(to_key)
        size = self.size(key)
        if size is None:
            raise FileMissing(key)
        with self._told(size):
            if self._folder:
                self._folder.copy(key, to_key)
            else:
                obstore.copy(self._store, key, to_key)

    def get(self, key: str) -> bytes:
        """The whole of a file.

        Raises:
            FileMissing: there is no such file.
        """
        with self._told(), _missing(key):
            return bytes(obstore.get(self._store, key).bytes())

    def get_verified(self, file: StoredFile) -> bytes:
        """The whole of a file, if it is what was put.

        Raises:
            FileMissing: there is no such file.
            FileDamaged: it is shorter, longer or otherwise not what was put.
        """
        data = self.get(file.key)
        if len(data) != file.size_bytes or hashlib.sha256(data).hexdigest() != file.sha256:
            raise FileDamaged(file.key)
        return data

    def verify(self, file: StoredFile, *, content: bool = True) -> None:
        """Fail if a file is not what was put; without `content` its size alone is looked at, which reads nothing.

        Raises:
            FileMissing: there is no such file.
            FileDamaged: it is shorter, longer or otherwise not what was put.
        """
        size = self.size(file.key)
        if size is None:
            raise FileMissing(file.key)
        if size != file.size_bytes or (content and self._sha256(file.key) != file.sha256):
            raise FileDamaged(file.key)

    def _sha256(self, key: str) -> str:
        digest = hashlib.sha256()
        with self._told(), _missing(key):
            for part in obstore.get(self._store, key).stream(min_chunk_size=PART_BYTES):
                digest.update(part)
        return digest.hexdigest()

    def open(self, key: str, start: int, length: int) -> AsyncIterator[bytes]:
        """`length` bytes of a file from `start`, in parts.

        Raises:
            FileMissing: there is no such file; raised here, before the first part is asked for.
        """
        if not length:
            return _parts(None)
        with self._told(), _missing(key):
            return _parts(obstore.get(self._store, key, options={"range": (start, start + length)}))

    def size(self, key: str) -> int | None:
        """Bytes of a file; none if there is no such file."""
        with self._told(), suppress(FileNotFoundError):
            return int(obstore.head(self._store, key)["size"])
        return None

    def list_older_than(self, prefix: str, seconds: float) -> Iterator[str]:
        """Keys below the folder `prefix` (all for an empty one) of files that were written before `seconds` ago.

        Files that were left unfinished are among them.
        """
        limit = datetime.now(UTC) - timedelta(seconds=seconds)
        with self._told():
            for files in obstore.list(self._store, prefix or None):
                yield from (file["path"] for file in files if file["last_modified"] < limit)

    def free_bytes(self) -> int | None:
        """What may still be written; none where nobody knows, as with object stores."""
        return self._folder.free_bytes() if self._folder else None

    def delete(self, keys: list[str]) -> None:
        """Remove files, and folders that become empty; one that is gone already is no error."""
        for key in keys:
            with self._told(), suppress(FileNotFoundError):
                obstore.delete(self._store, key)

    def check(self) -> None:
        """Fail if a file cannot be written, read and removed."""
        key = f"checks/{uuid_utils.uuid7().hex}"
        self.put(key, b"ok")
        self.get(key)
        self.delete([key])

    @contextmanager
    def _told(self, needed_bytes: int = 0) -> Iterator[None]:
        """What the system or obstore says in the block, said in our words; `needed_bytes` is what it writes."""
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                raise StorageFull(needed_bytes, self.free_bytes()) from error
            raise StorageFailed(error.strerror or type(error).__name__) from error
        except BaseError as error:
            raise StorageFailed(type(error).__name__) from error


def _check(key: str) -> None:
    if not KEY.fullmatch(key):
        raise ValueError(f"{key!r} cannot be the key of a file.")


@contextmanager
def _missing(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise FileMissing(key) from error


async def _parts(result: "GetResult | None") -> AsyncIterator[bytes]:
    if result is not None:
        async for part in result.stream(min_chunk_size=PART_BYTES):
            yield bytes(part)
