"""When a queued job may start, worked out from plain numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.estimates import NEWEST, Pace, Waiting, pace, starts

KIND, OTHER = ("mlp", "digits"), ("cnn", "mnist")
seconds = st.floats(0, 1e6)
unknown_or = st.none() | seconds


def queue(*lasts: float | None, wait: float = 0.0) -> list[Waiting]:
    return [Waiting(wait=wait, lasts=each) for each in lasts]


@pytest.mark.parametrize(
    ("slots", "running", "lasts", "expected"),
    [
        (1, [], [5, 7, 9], [0, 5, 12]),
        (2, [], [5, 7, 9, 1], [0, 0, 5, 7]),
        (1, [4], [5, 7], [4, 9]),
        (2, [4, 10], [5, 7], [4, 9]),
        (3, [4], [5, 7, 9], [0, 0, 4]),
        (1, [None], [5], [None]),
        (2, [None], [5, 7], [0, 5]),
        (1, [], [None, 7], [0, None]),
        (2, [], [None, 7, 9], [0, 0, 7]),
        (0, [], [5], [None]),
        (1, [4, 10], [5], [10]),
        (1, [-3], [5], [0]),
    ],
)
def test_the_queue_is_played_out_on_the_slots(slots, running, lasts, expected):
    assert starts(slots, running, queue(*lasts)) == expected


def test_a_job_that_waits_before_another_try_starts_no_earlier_than_it_may():
    jobs = [*queue(5), Waiting(wait=60, lasts=5), Waiting(wait=60, lasts=5)]
    assert starts(1, [], jobs) == [0, 60, 65]
    assert starts(1, [100], jobs) == [100, 105, 110]


@given(st.integers(0, 5), st.lists(unknown_or, max_size=8), st.lists(unknown_or, max_size=20))
def test_starts_of_jobs_that_may_run_now_never_fall_along_the_queue(slots, running, lasts):
    found = starts(slots, running, queue(*lasts))
    assert len(found) == len(lasts)
    known = [each for each in found if each is not None]
    assert known == sorted(known)
    assert found[: len(known)] == known, "once nobody can say, nobody can say of those behind either"
    free = max(0, slots - len(running))
    assert found[:free] == [0.0] * min(free, len(lasts))


@given(st.integers(1, 4), st.lists(seconds, max_size=4), st.lists(seconds, min_size=1, max_size=10), seconds)
def test_a_slot_more_or_a_job_less_delays_nobody(slots, running, lasts, another):
    running = running[:slots]
    found = starts(slots, running, queue(*lasts))
    more = starts(slots + 1, running, queue(*lasts))
    fewer = starts(slots, running[1:], queue(*lasts))
    assert all(sooner <= later for sooner, later in zip(more, found, strict=True))
    assert all(sooner <= later for sooner, later in zip(fewer, found, strict=True))
    assert starts(slots, running, queue(*lasts, another))[:-1] == found


def test_the_pace_is_that_of_the_newest_jobs_of_the_kind_or_of_all():
    found = pace([(KIND, 10.0, 10)] * NEWEST + [(KIND, 990.0, 10), (OTHER, 3.0, 1)])
    assert found.of_kind == {KIND: 1.0, OTHER: 3.0}
    assert found.seconds(KIND, 10) == 10
    seconds, steps = 10 * NEWEST + 990 + 3, 10 * NEWEST + 10 + 1
    assert found.seconds(("vgg", "cifar10"), 2) == pytest.approx(2 * seconds / steps)
    assert Pace().seconds(KIND, 10) is None
    assert pace([]) == Pace()
