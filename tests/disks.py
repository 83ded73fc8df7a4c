"""A disk so small that a test can fill it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import missing


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """`folder`, with a disk of its own in memory for the block."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", folder]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        missing("a full disk: run the tests as a user that may mount a tmpfs")
    try:
        yield folder
    finally:
        # Lazily: a server of the test may still look at it.
        subprocess.run(["umount", "--lazy", folder], check=True)
