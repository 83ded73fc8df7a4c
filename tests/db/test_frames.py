"""Frames, and the coarser resolutions that chunks keep of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.frames import (
    CHUNK_BYTES,
    CHUNK_ROWS,
    DIGEST_ROWS,
    Frame,
    Summary,
    capacity,
    concatenate,
    finest,
    join,
    merge,
    run_starts,
    summarize,
)
from tests.db.streams import numbers, rows_of

tables = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(numbers, min_size=width, max_size=width), min_size=1, max_size=40)
)


def frame_of(table: list[list[float]]) -> Frame:
    return Frame.of(range(1, len(table) + 1), {"x": np.array(table)})


def assert_same(one: Summary, other: Summary) -> None:
    np.testing.assert_array_equal(one.steps, other.steps)
    np.testing.assert_array_equal(one.count, other.count)
    np.testing.assert_array_equal(one.low, other.low)
    np.testing.assert_array_equal(one.high, other.high)
    # The mean's scale, not the mean, bounds its rounding: values may cancel.
    scale = np.nan_to_num(np.maximum(abs(one.low), abs(one.high)), nan=1.0)
    np.testing.assert_array_equal(np.isnan(one.mean), np.isnan(other.mean))
    assert (np.nan_to_num(abs(one.mean - other.mean)) <= 1e-12 * scale).all()


@settings(max_examples=60)
@given(table=tables, data=st.data())
def test_a_summary_of_summaries_is_the_summary_of_their_rows(table, data):
    frame = frame_of(table)
    rows = len(table)
    cuts = sorted(data.draw(st.sets(st.integers(0, rows - 1)))) or [0]
    starts = np.array([0, *[cut for cut in cuts if cut]])
    coarse = sorted(data.draw(st.sets(st.sampled_from(range(len(starts))))))
    outer = np.array([0, *[cut for cut in coarse if cut]])
    assert_same(merge(summarize(frame, starts), outer), summarize(frame, starts[outer]))


@settings(max_examples=60)
@given(table=tables, cut=st.integers(1, 39))
def test_summaries_of_consecutive_rows_join(table, cut):
    frame = frame_of(table)
    parts = [frame.take(slice(0, cut)), frame.take(slice(cut, None))]
    joined = join([finest(part) for part in parts])
    assert_same(joined, finest(frame))


@settings(max_examples=60)
@given(table=tables, runs=st.integers(1, 40))
def test_a_summary_survives_its_bytes(table, runs):
    frame = frame_of(table)
    summary = summarize(frame, run_starts(len(table), min(runs, len(table))))
    restored = Summary.from_bytes(summary.to_bytes(), frame.values.shape[1])
    for name in ("steps", "low", "high", "mean", "count"):
        np.testing.assert_array_equal(getattr(restored, name), getattr(summary, name))


@given(rows=st.integers(1, 5000), runs=st.integers(1, 5000))
def test_runs_are_as_equal_as_can_be_and_cover_every_row(rows, runs):
    runs = min(rows, runs)
    starts = run_starts(rows, runs)
    sizes = np.diff([*starts, rows])
    assert (starts[0], len(starts), sizes.sum()) == (0, runs, rows)
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1


def test_a_run_without_a_finite_value_is_nan_and_counts_none():
    frame = Frame.of([1, 2, 3], {"x": np.array([np.nan, np.inf, 4.0])})
    summary = summarize(frame, [0, 2])
    assert summary.count.tolist() == [[0], [1]]
    assert np.isnan([summary.low[0, 0], summary.high[0, 0], summary.mean[0, 0]]).all()
    assert [summary.low[1, 0], summary.high[1, 0], summary.mean[1, 0]] == [4.0, 4.0, 4.0]


def test_a_summary_of_no_rows_has_no_rows():
    empty = rows_of(0)
    assert len(summarize(empty, []).steps) == 0
    assert len(concatenate([empty, empty]).steps) == 0


def test_columns_are_found_by_name_whatever_their_width():
    frame = Frame.of([1, 2], {"a": np.array([1.0, 2.0]), "b": np.arange(6.0).reshape(2, 3), "c": np.array([8, 9])})
    assert frame.columns == (("a", 1), ("b", 3), ("c", 1))
    assert frame.column("b").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert frame.column("c").tolist() == [[8], [9]]
    with pytest.raises(KeyError):
        frame.column("d")


@given(row_bytes=st.integers(0, 2 * CHUNK_BYTES))
def test_a_full_chunk_is_bounded_and_made_of_whole_digest_rows_where_they_fit(row_bytes):
    rows = capacity(row_bytes)
    assert 1 <= rows <= CHUNK_ROWS
    assert rows == 1 or rows * row_bytes <= CHUNK_BYTES
    if row_bytes * DIGEST_ROWS <= CHUNK_BYTES:
        assert rows % DIGEST_ROWS == 0
