"""A later attempt's rows take the place of an earlier one's beyond the step that it began at."""

import pytest

from db import chunks
from tests.db.streams import assert_holds, read, rows_of, steps_of, write_stream
from tests.db.support import claimed_job, next_attempt


def test_an_attempt_from_the_start_hides_every_row_of_the_one_before(database):
    first = claimed_job(database)
    write_stream(database, first, rows_of(100))
    second = next_attempt(database, first)
    assert read(database, first.job_id).series == {}
    again = rows_of(30, seed=1)
    write_stream(database, second, again)
    assert_holds([read(database, first.job_id)], again)
    assert_holds([read(database, first.job_id, to_step=20)], again.take(slice(0, 20)))


def test_a_cursor_of_the_attempt_before_is_rewound_to_the_start(database):
    first = claimed_job(database)
    write_stream(database, first, rows_of(100))
    cursor = read(database, first.job_id).cursor
    second = next_attempt(database, first)
    empty = read(database, first.job_id, after=cursor)
    assert (empty.rewound_to, empty.series) == (0, {})
    again = rows_of(30, seed=1)
    write_stream(database, second, again)
    page = read(database, first.job_id, after=cursor)
    assert page.rewound_to == 0
    assert_holds([page], again)
    following = read(database, first.job_id, after=page.cursor)
    assert (following.rewound_to, following.series) == (None, {})
    assert_holds([read(database, first.job_id, after=empty.cursor)], again)
    assert read(database, first.job_id, after=empty.cursor).rewound_to is None


def test_a_reader_that_had_read_nothing_is_not_rewound(database):
    first = claimed_job(database)
    cursor = read(database, first.job_id).cursor
    second = next_attempt(database, first)
    write_stream(database, second, rows_of(5))
    page = read(database, first.job_id, after=cursor)
    assert (page.rewound_to, steps_of([page])) == (None, [1, 2, 3, 4, 5])


@pytest.mark.parametrize(("reached", "rewound_to"), [(80, 50), (51, 50), (50, None), (20, None)])
def test_a_resumed_attempt_rewinds_only_readers_beyond_its_start(database, reached, rewound_to):
    first = claimed_job(database)
    old = rows_of(100)
    write_stream(database, first, old, capacity=32)
    cursor = read(database, first.job_id, to_step=reached).cursor
    second = next_attempt(database, first, start_step=50)
    new = rows_of(60, first_step=51, seed=1)
    write_stream(database, second, new, capacity=32)
    page = read(database, first.job_id, after=cursor)
    assert page.rewound_to == rewound_to
    assert steps_of([page]) == list(range(min(reached, 50) + 1, 111))
    whole = read(database, first.job_id)
    assert whole.series["train/loss"]["value"] == [*old.values[:50, 0], *new.values[:, 0]]


@pytest.mark.parametrize("max_points", [3, 40])
def test_down_sampled_reads_leave_superseded_rows_out(database, max_points):
    first = claimed_job(database)
    old = rows_of(100)
    write_stream(database, first, old, capacity=32)
    second = next_attempt(database, first, start_step=50)
    new = rows_of(60, first_step=51, seed=1)
    write_stream(database, second, new, capacity=32)
    loss = read(database, first.job_id, max_points=max_points).series["train/loss"]
    assert sum(loss["count"]) == 110
    values = [*old.values[:50, 0], *new.values[:, 0]]
    assert (min(loss["min"]), max(loss["max"])) == (min(values), max(values))
    assert len(loss["step"]) <= max_points


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        ([0], [(1, 0, None)]),
        ([0, 0], [(2, 0, None)]),
        ([0, 50], [(1, 0, 50), (2, 50, None)]),
        ([0, 50, 20], [(1, 0, 20), (3, 20, None)]),
        ([0, 50, 80], [(1, 0, 50), (2, 50, 80), (3, 80, None)]),
        ([0, 50, 50], [(1, 0, 50), (3, 50, None)]),
        ([0, 50, 0], [(3, 0, None)]),
    ],
)
def test_the_windows_of_attempts_follow_from_where_each_began(database, starts, expected):
    hold = claimed_job(database)
    for start in starts[1:]:
        hold = next_attempt(database, hold, start)
    with database.read() as session:
        found = chunks.windows(session, hold.job_id)
    endless = found[-1].last
    assert [(w.attempt, w.after, None if w.last == endless else w.last) for w in found] == expected


def test_a_cursor_of_an_early_attempt_is_rewound_by_the_earliest_start_since(database):
    first = claimed_job(database)
    write_stream(database, first, rows_of(100))
    cursor = read(database, first.job_id).cursor
    third = next_attempt(database, next_attempt(database, first, start_step=20), start_step=60)
    write_stream(database, third, rows_of(10, first_step=61))
    page = read(database, first.job_id, after=cursor)
    assert page.rewound_to == 20
    assert steps_of([page]) == list(range(61, 71))
