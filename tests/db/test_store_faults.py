"""The store on a local folder when the disk is full, and when its process is killed in the middle of a write."""

import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from db.errors import StorageFull
from db.folder import TEMPORARY
from db.store import Store
from tests.db.store_writer import is_whole
from tests.disks import small_disk

MIB = 1 << 20
ROOT = Path(__file__).parents[2]
KILLS = 6


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def writer(folder: Path, size_bytes: int, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.db.store_writer", folder.as_uri(), str(size_bytes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, **options)


def test_a_full_disk_is_said_and_leaves_what_was_there(tmp_path):
    with small_disk(tmp_path / "disk", 2 * MIB) as disk:
        store = Store((disk / "store").as_uri())
        first = store.put("jobs/a", bytes(MIB))
        # A new file, and one in place of the first: each is written beside it.
        for key in ("jobs/b", "jobs/a"):
            with pytest.raises(StorageFull, match="bytes are free") as refused:
                store.put(key, b"x" * (MIB + 1))
            assert refused.value.needed_bytes == MIB + 1
            assert 0 < refused.value.free_bytes <= MIB
            assert files_of(disk) == [disk / "store" / "jobs" / "a"]
        assert store.get_verified(first) == bytes(MIB)
        store.delete(["jobs/a"])
        store.put("jobs/b", b"x" * (MIB + 1))
        assert store.size("jobs/b") == MIB + 1


def test_a_file_longer_than_the_process_may_write_is_refused_and_no_signal_ends_it(tmp_path):
    store = Store(tmp_path.as_uri())
    kept = store.put("files/0", b"earlier")
    limit = (MIB, resource.RLIM_INFINITY)
    limited = writer(tmp_path, 3 * MIB, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    said, _ = limited.communicate(timeout=30)
    assert (limited.returncode, said.split()) == (0, ["storage_full", str(3 * MIB)])
    assert files_of(tmp_path) == [tmp_path / "files" / "0"]
    assert store.get_verified(kept) == b"earlier"
    store.put("files/0", bytes(3 * MIB))
    assert store.size("files/0") == 3 * MIB


def test_a_process_killed_in_the_middle_of_a_write_leaves_only_whole_files(tmp_path):
    moments = random.Random(0)
    unfinished: list[Path] = []
    for _ in range(KILLS):
        with writer(tmp_path, 8 * MIB) as victim:
            victim.stdout.readline()
            time.sleep(moments.uniform(0.0, 0.15))
            victim.kill()
        unfinished += [path for path in files_of(tmp_path) if path.name.startswith(TEMPORARY)]
        for path in unfinished:
            path.unlink(missing_ok=True)
        assert all(is_whole(path.read_bytes()) for path in files_of(tmp_path))
    assert files_of(tmp_path)
    assert unfinished, "no kill came in the middle of a write"


def test_a_folder_that_a_delete_takes_away_is_made_again(tmp_path, monkeypatch):
    store, make, disturbances = Store(tmp_path.as_uri()), Path.mkdir, iter(range(3))

    def disturbed(folder: Path, *args, **options) -> None:
        """The folder goes before anything is in it, as a delete in another process has it."""
        make(folder, *args, **options)
        if next(disturbances, None) is not None:
            folder.rmdir()

    monkeypatch.setattr(Path, "mkdir", disturbed)
    store.put("a/b/c", b"data")
    assert store.get("a/b/c") == b"data"
