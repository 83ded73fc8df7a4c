"""Down-sampled reads: at most so many points, each true of its rows, from the coarsest bytes that do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.frames import DIGEST_ROWS
from tests.db.streams import assert_holds, assert_points_stand_for, read, rows_of, write_stream
from tests.db.support import claimed_job, properties, statements

#: Two digest rows fill a chunk: ten chunks and a bit.
CAPACITY = 2 * DIGEST_ROWS
ROWS = 10 * CAPACITY + 30


@pytest.fixture
def stream(database):
    """A job with a stream of eleven chunks."""
    hold = claimed_job(database)
    frame = rows_of(ROWS, first_step=3, every=3, wild=True)
    write_stream(database, hold, frame, capacity=CAPACITY, sizes=[100, 1, 333])
    return hold.job_id, frame


def payload_reads(sent: list[str]) -> int:
    return sum("payload" in statement for statement in sent)


@pytest.mark.parametrize("points", [1, 2, 7, 10, 11])
def test_headers_alone_answer_where_there_are_enough_chunks(database, stream, points):
    job_id, frame = stream
    with statements(database) as sent:
        page = read(database, job_id, max_points=points)
    assert page.downsampled
    assert_points_stand_for(page, frame, points)
    assert len(page.series["train/loss"]["step"]) == points
    assert payload_reads(sent) == 0
    assert not any("digest" in statement for statement in sent)


@pytest.mark.parametrize("points", [12, 15, 20, 21])
def test_digests_answer_where_headers_are_too_few(database, stream, points):
    job_id, frame = stream
    with statements(database) as sent:
        page = read(database, job_id, max_points=points)
    assert_points_stand_for(page, frame, points)
    assert len(page.series["train/loss"]["step"]) == points
    assert payload_reads(sent) == 0
    assert any("digest" in statement for statement in sent)


@pytest.mark.parametrize("points", [22, 64, 500, ROWS - 1])
def test_rows_answer_where_digests_are_too_few(database, stream, points):
    job_id, frame = stream
    with statements(database) as sent:
        page = read(database, job_id, max_points=points)
    assert_points_stand_for(page, frame, points)
    assert len(page.series["train/loss"]["step"]) == points
    assert payload_reads(sent) == 11


@pytest.mark.parametrize("points", [ROWS, ROWS + 1, 10_000])
def test_a_stream_that_has_no_more_rows_than_points_comes_whole(database, stream, points):
    job_id, frame = stream
    page = read(database, job_id, max_points=points)
    assert not page.downsampled
    assert "min" not in page.series["train/loss"]
    assert_holds([page], frame)


@pytest.mark.parametrize("points", [5, 14, 300])
def test_points_of_a_range_stand_for_the_rows_of_the_range_alone(database, stream, points):
    job_id, frame = stream
    low, high = int(frame.steps[CAPACITY + 17]), int(frame.steps[-CAPACITY])
    with statements(database) as sent:
        page = read(database, job_id, from_step=low, to_step=high, max_points=points)
    assert_points_stand_for(page, frame.take((frame.steps >= low) & (frame.steps <= high)), points)
    if points < 20:
        assert payload_reads(sent) == 2  # the chunks at the ends of the range


@properties
@given(
    rows=st.integers(1, 700),
    points=st.integers(1, 60),
    low=st.integers(-5, 2200),
    length=st.integers(0, 2200),
    every=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_points_of_any_range_are_few_and_true(database, rows, points, low, length, every, seed):
    hold = claimed_job(database)
    frame = rows_of(rows, every=every, seed=seed, wild=True)
    write_stream(database, hold, frame, capacity=DIGEST_ROWS, sizes=[rows // 2 or 1])
    wanted = frame.take((frame.steps >= low) & (frame.steps <= low + length))
    page = read(database, hold.job_id, from_step=low, to_step=low + length, max_points=points)
    if not len(wanted.steps):
        assert page.series == {}
    elif page.downsampled:
        assert_points_stand_for(page, wanted, points)
    else:
        assert len(wanted.steps) <= points
        assert_holds([page], wanted)


def test_the_cursor_of_a_down_sampled_read_goes_on_after_the_last_row(database, stream):
    job_id, frame = stream
    cut = int(frame.steps[600])
    first = read(database, job_id, to_step=cut, max_points=4)
    rest = read(database, job_id, after=first.cursor)
    assert_holds([rest], frame.take(frame.steps > cut))
    assert read(database, job_id, after=rest.cursor, max_points=4).series == {}


def test_the_points_of_both_series_of_a_stream_have_the_same_steps(database, stream):
    job_id, _ = stream
    series = read(database, job_id, max_points=50).series
    assert series["train/loss"]["step"] == series["train/accuracy"]["step"]
    assert np.isnan(series["train/loss"]["value"]).any()
