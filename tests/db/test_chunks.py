"""Rows come back as they were written, however they were flushed."""

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from db import chunks
from db.chunks import METRICS, ChunkWriter
from db.frames import CHUNK_ROWS, Frame
from db.metrics import PAGE_STEPS
from db.tables import Chunk
from tests.db.streams import (
    assert_holds,
    flushes,
    numbers,
    read,
    read_all,
    rows_of,
    steps_of,
    write,
    write_stream,
)
from tests.db.support import claimed_job, crashing, properties

sizes = st.lists(st.integers(1, 60), max_size=12)
capacities = st.sampled_from([2, 7, 64, 100])


def chunk_rows(database, job_id: str) -> list[int]:
    with database.read() as session:
        query = sa.select(Chunk.rows).where(Chunk.job_id == job_id).order_by(Chunk.number)
        return list(session.scalars(query))


@properties
@given(values=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=40), sizes=sizes, capacity=capacities)
def test_any_numbers_in_flushes_of_any_size_come_back_bit_by_bit(database, values, sizes, capacity):
    hold = claimed_job(database)
    columns = np.array(values)
    frame = Frame.of(range(1, len(values) + 1), {"train/loss": columns[:, 0], "train/accuracy": columns[:, 1]})
    write_stream(database, hold, frame, capacity=capacity, sizes=sizes)
    page = read(database, hold.job_id)
    assert_holds([page], frame)
    assert not page.more
    assert not page.downsampled


@properties
@given(rows=st.integers(1, 400), sizes=sizes, capacity=capacities)
def test_chunks_are_full_but_for_the_last_however_small_the_flushes(database, rows, sizes, capacity):
    hold = claimed_job(database)
    write_stream(database, hold, rows_of(rows), capacity=capacity, sizes=sizes)
    full, rest = divmod(rows, capacity)
    assert chunk_rows(database, hold.job_id) == [capacity] * full + [rest] * (rest > 0)


def test_hundreds_of_tiny_flushes_leave_no_more_chunks_than_one_large_one(database):
    hold = claimed_job(database)
    frame = rows_of(700)
    write_stream(database, hold, frame, capacity=256, sizes=[1, 2, 3, 4] * 60)
    assert chunk_rows(database, hold.job_id) == [256, 256, 188]
    assert_holds([read(database, hold.job_id)], frame)


@properties
@given(
    rows=st.lists(st.integers(1, 90), min_size=1, max_size=6),
    fails=st.lists(st.booleans(), min_size=6, max_size=6),
    capacity=st.sampled_from([7, 64, 100]),
)
def test_a_failed_transaction_and_its_retry_neither_lose_nor_double_rows(database, rows, fails, capacity):
    hold = claimed_job(database)
    frame = rows_of(sum(rows))
    writer = ChunkWriter(hold, METRICS, "train", capacity)
    for piece, fail in zip(flushes(frame, rows), fails, strict=False):
        writer.add(piece)
        if fail:
            with crashing(database) as session:
                chunks.write(session, [writer])
        else:
            with database.write() as session:
                chunks.write(session, [writer])
            writer.committed()
    with database.write() as session:
        chunks.write(session, [writer])
    writer.committed()
    assert_holds([read(database, hold.job_id)], frame)
    assert sum(chunk_rows(database, hold.job_id)) == len(frame.steps)


def test_a_write_without_news_changes_nothing(database):
    hold = claimed_job(database)
    writer = write_stream(database, hold, rows_of(10))
    for _ in range(2):
        with database.write() as session:
            chunks.write(session, [writer])
        writer.committed()
    write(database, writer, [rows_of(5, first_step=11)])
    assert chunk_rows(database, hold.job_id) == [15]
    assert steps_of([read(database, hold.job_id)]) == list(range(1, 16))


def test_long_streams_come_in_pages_that_join_without_a_gap(database):
    hold = claimed_job(database)
    frame = rows_of(2 * PAGE_STEPS + 345, wild=True)
    writer = write_stream(database, hold, frame, capacity=CHUNK_ROWS, sizes=[7777, 1, 9000])
    pages = read_all(database, hold.job_id)
    assert [len(page.series["train/loss"]["step"]) for page in pages] == [PAGE_STEPS, PAGE_STEPS, 345]
    assert_holds(pages, frame)

    more = rows_of(20, first_step=int(frame.steps[-1]) + 1, seed=1)
    assert read(database, hold.job_id, after=pages[-1].cursor).series == {}
    write(database, writer, [more])
    assert_holds([read(database, hold.job_id, after=pages[-1].cursor)], more)


def test_a_stream_of_exactly_one_page_has_no_more(database):
    hold = claimed_job(database)
    write_stream(database, hold, rows_of(PAGE_STEPS))
    assert not read(database, hold.job_id).more


@properties
@given(
    rows=st.integers(1, 200),
    every=st.integers(1, 30),
    bounds=st.tuples(st.integers(0, 700), st.integers(0, 700)),
    capacity=capacities,
)
def test_a_range_of_steps_holds_exactly_its_rows(database, rows, every, bounds, capacity):
    hold = claimed_job(database)
    frame = rows_of(rows, first_step=every, every=every)
    write_stream(database, hold, frame, capacity=capacity)
    low, high = bounds
    page = read(database, hold.job_id, from_step=low, to_step=high)
    assert_holds([page], frame.take((frame.steps >= low) & (frame.steps <= high)))


@properties
@given(rows=st.integers(1, 150), cuts=st.sets(st.integers(1, 150), max_size=5), capacity=capacities)
def test_a_reader_that_follows_a_growing_stream_sees_each_row_once(database, rows, cuts, capacity):
    hold = claimed_job(database)
    frame = rows_of(rows)
    writer = ChunkWriter(hold, METRICS, "train", capacity)
    pages, cursor = [], None
    for piece in flushes(frame, np.diff([0, *sorted(cuts)])):
        write(database, writer, [piece])
        pages.append(read(database, hold.job_id, after=cursor))
        cursor = pages[-1].cursor
    assert_holds(pages, frame)


def test_names_choose_series_and_unknown_ones_give_none(database):
    hold = claimed_job(database)
    write_stream(database, hold, rows_of(5))
    other = ChunkWriter(hold, METRICS, "evaluation", 1024)
    write(database, other, [Frame.of([5], {"test/loss": np.array([0.5]), "lr": np.array([0.1])})])
    names = ["train/loss", "test/loss", "lr", "train/accuracy"]
    assert set(read(database, hold.job_id).series) == set(names)
    assert set(read(database, hold.job_id, names=["lr", "train/loss", "x"]).series) == {"lr", "train/loss"}
    assert read(database, hold.job_id, names=["x"]).series == {}
    assert read(database, "job_none").series == {}


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_numbers_keep_their_type(database, dtype):
    hold = claimed_job(database)
    frame = Frame.of([1, 2], {"train/loss": np.array([0.1, 0.2], dtype=dtype)})
    write_stream(database, hold, frame)
    assert read(database, hold.job_id).series["train/loss"]["value"] == frame.values[:, 0].tolist()
    with database.read() as session:
        assert session.scalars(sa.select(Chunk.dtype)).all() == [dtype]
