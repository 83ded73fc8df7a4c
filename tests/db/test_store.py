"""The store on a local folder."""

import asyncio
import hashlib

import pytest
from obstore.exceptions import GenericError

from db.errors import FileMissing
from db.settings import Settings
from db.store import Store


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
    assert not [path for path in folder.rglob("*") if path.is_file()]
    folder.joinpath("checks").rmdir()
    folder.joinpath("checks").write_text("in the way")
    with pytest.raises(GenericError, match="checks"):
        store.check()
