"""Files of a local folder, written so that they outlive a loss of power: whole, or not there at all."""

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import uuid_utils

#: How the name of an unfinished file begins. It lies beside the file that it becomes: a rename needs one device.
TEMPORARY = ".tmp-"

#: What a file system says that has no hard links, or no more of them for this file.
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})

#: A folder that becomes empty is removed, perhaps just as a file is on its way into it.
TRIES = 20


class Folder:
    """Writes below `root`. Keys are paths relative to it; errors are OSErrors."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def write(self, key: str, data: bytes) -> None:
        """Make or replace a file; on the disk when this returns."""
        self._place(key, partial(_write, data))

    def copy(self, key: str, to_key: str) -> None:
        """Make or replace `to_key` with what `key` holds."""
        self._place(to_key, partial(_copy, self.root / key))

    def free_bytes(self) -> int:
        """What this process may still write here."""
        return shutil.disk_usage(self.root).free

    def _place(self, key: str, fill: Callable[[Path], None]) -> None:
        """Have a temporary file filled and flushed, then give it its name (Pillai et al. 2014, OSDI)."""
        path = self.root / key
        temporary = path.with_name(f"{TEMPORARY}{uuid_utils.uuid7().hex}")
        try:
            _in_folder(path.parent, lambda: fill(temporary))
            os.replace(temporary, path)
            # Not the file's folder alone: those above may be as new as the file. One without news costs 0.05 ms.
            for folder in path.parents[: len(path.relative_to(self.root).parts)]:
                _flush_folder(folder)
        finally:
            # Gone after the rename, unless both names were links to one file: then POSIX has rename do nothing.
            with suppress(OSError):
                temporary.unlink()


def _write(data: bytes, path: Path) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _copy(source: Path, path: Path) -> None:
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        _write(source.read_bytes(), path)
    # A link has the age of its file, and what is old and not named by the database is swept.
    os.utime(path)


def _in_folder(folder: Path, action: Callable[[], None]) -> None:
    for _ in range(TRIES - 1):
        # The second is what mkdir says of a folder that was there and went before a second look.
        with suppress(FileNotFoundError, FileExistsError):
            folder.mkdir(parents=True, exist_ok=True)
            return action()
    folder.mkdir(parents=True, exist_ok=True)
    return action()


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot; there is nothing better to do
            raise
    finally:
        os.close(descriptor)
