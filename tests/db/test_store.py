"""The store: on a local folder, and what holds of an object store too (here one in memory)."""

import asyncio
import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from db.errors import FileDamaged, FileMissing, StorageFailed
from db.folder import TEMPORARY
from db.settings import Settings
from db.store import Store


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path) -> Store:
    return Store(tmp_path.as_uri() if request.param == "folder" else "memory:///")


@pytest.mark.parametrize("name", ["plain", "with a space", "José %41"])
def test_files_lie_under_the_home_folder_whatever_its_name(tmp_path, name):
    settings = Settings(home=tmp_path / name)
    store = Store(settings.store_url)
    stored = store.put("jobs/a/model.safetensors", b"weights")
    assert (tmp_path / name / "store" / "jobs" / "a" / "model.safetensors").read_bytes() == b"weights"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert stored.sha256 == hashlib.sha256(b"weights").hexdigest()
    assert (stored.size_bytes, store.get(stored.key)) == (7, b"weights")


def test_a_part_of_a_file_is_streamed(tmp_path):
    store = Store((tmp_path / "store").as_uri())
    store.put("a", bytes(range(200)))

    async def read(start: int, length: int) -> bytes:
        return b"".join([part async for part in store.open("a", start, length)])

    assert asyncio.run(read(10, 20)) == bytes(range(10, 30))
    assert asyncio.run(read(0, 200)) == bytes(range(200))
    assert asyncio.run(read(5, 0)) == b""


def test_a_file_that_is_gone_is_told_before_anything_is_read(tmp_path):
    store = Store((tmp_path / "store").as_uri())
    with pytest.raises(FileMissing, match="no longer in the store"):
        store.open("a", 0, 10)


def test_a_check_leaves_nothing_and_fails_where_nothing_can_be_written(tmp_path):
    folder = tmp_path / "store"
    store = Store(folder.as_uri())
    store.check()
    assert not list(folder.iterdir())
    folder.joinpath("checks").write_text("in the way")
    with pytest.raises(StorageFailed, match="File exists") as refused:
        store.check()
    assert str(folder) not in str(refused.value)


def test_a_file_is_flushed_before_it_has_its_name_and_its_folders_after(tmp_path, monkeypatch):
    flushed, flush = [], os.fsync

    def watched(descriptor: int) -> None:
        flushed.append((Path(os.readlink(f"/proc/self/fd/{descriptor}")), (tmp_path / "a/b/c").exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    Store(tmp_path.as_uri()).put("a/b/c", b"data")
    (temporary, existed), *folders = flushed
    assert (temporary.parent, existed) == (tmp_path / "a/b", False)
    assert temporary.name.startswith(TEMPORARY)
    assert folders == [(tmp_path / "a/b", True), (tmp_path / "a", True), (tmp_path, True)]


def test_a_read_of_what_is_not_there_is_told(store):
    stored = store.put("a", b"data")
    store.delete(["a", "a"])
    for read in (store.get, lambda key: store.copy(key, "b"), lambda key: store.open(key, 0, 1)):
        with pytest.raises(FileMissing, match="no longer in the store"):
            read("a")
    for check in (store.get_verified, store.verify):
        with pytest.raises(FileMissing):
            check(stored)
    assert store.size("a") is None


@pytest.mark.parametrize("content", [b"", b"weight", b"weights+", b"weighty"])
def test_a_file_that_is_not_what_was_put_is_found_out(store, content):
    stored = store.put("a", b"weights")
    assert store.get_verified(stored) == b"weights"
    store.verify(stored)
    store.put("a", content)
    for check in (store.get_verified, store.verify):
        with pytest.raises(FileDamaged, match="not what was saved"):
            check(stored)
    same_size = replace(stored, size_bytes=len(content))
    store.verify(same_size, content=False)


def test_a_copy_is_a_file_of_its_own(store):
    store.put("a/1", b"one")
    store.copy("a/1", "b/c/1")
    store.copy("a/1", "b/c/1")
    store.put("a/1", b"other")
    assert store.get("b/c/1") == b"one"
    store.copy("a/1", "b/c/1")
    store.delete(["a/1"])
    assert store.get("b/c/1") == b"other"
    assert list(store.list_older_than("", -10)) == ["b/c/1"]


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EMLINK])
def test_a_copy_where_there_are_no_links(tmp_path, monkeypatch, refusal):
    def link(*names: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "link", link)
    store = Store(tmp_path.as_uri())
    store.put("a", b"one")
    store.copy("a", "b/c")
    assert store.get("b/c") == b"one"
    assert (tmp_path / "a").stat().st_ino != (tmp_path / "b/c").stat().st_ino


def test_old_files_are_listed_with_those_left_unfinished(tmp_path):
    store = Store(tmp_path.as_uri())
    for key in ("jobs/old", "jobs/new", "other/old"):
        store.put(key, b"")
    (tmp_path / "jobs" / f"{TEMPORARY}x").touch()
    for name in ("jobs/old", f"jobs/{TEMPORARY}x", "other/old"):
        os.utime(tmp_path / name, (0, 0))
    assert sorted(store.list_older_than("jobs", 3600)) == [f"jobs/{TEMPORARY}x", "jobs/old"]
    assert "other/old" in set(store.list_older_than("", 3600))
    # A copy is new, however old its file: nothing names it yet.
    store.copy("jobs/old", "jobs/copy")
    assert "jobs/copy" not in set(store.list_older_than("jobs", 3600))
    store.delete(list(store.list_older_than("", -10)))
    assert list(tmp_path.iterdir()) == []


def test_folders_that_become_empty_go_and_the_root_stays(tmp_path):
    root = tmp_path / "store"
    store = Store(root.as_uri())
    store.put("a/b/c", b"")
    store.put("a/d", b"")
    store.delete(["a/b/c"])
    assert [path.name for path in (root / "a").iterdir()] == ["d"]
    store.delete(["a/d"])
    assert list(root.iterdir()) == []


def test_free_bytes_are_known_of_a_folder_only(tmp_path):
    free = os.statvfs(tmp_path)
    assert Store(tmp_path.as_uri()).free_bytes() == pytest.approx(free.f_bavail * free.f_frsize, rel=0.1)
    assert Store("memory:///").free_bytes() is None


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", f"a/{TEMPORARY}b", "a#1", "a\n", "é"]
)
def test_a_key_that_no_store_could_take_is_refused(store, key):
    with pytest.raises(ValueError, match="key"):
        store.put(key, b"")
    store.put("a", b"")
    with pytest.raises(ValueError, match="key"):
        store.copy("a", key)
