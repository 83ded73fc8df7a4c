"""The queue as clients see it, against what workers really claim."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import commands, lease, queue, workers
from db.base import now
from db.queue import Counts, Place
from db.status import WorkerStatus
from tests.db.support import (
    change_job,
    claim,
    claimed_job,
    job_of,
    new_job,
    paused_job,
    properties,
    running_job,
    statements,
)


def report(database, slots: int = 1, status=WorkerStatus.READY) -> None:
    """The worker of `claim` is there."""
    with database.write() as session:
        workers.report(session, "worker", slots, status, None)


def standing(database, limit: int = 100) -> list[queue.QueuedJob]:
    with database.read() as session:
        return queue.standing(session, limit)


def estimates(database) -> list[float | None]:
    return [line.place.estimated_start_seconds for line in standing(database)]


def past_job(database, seconds: float, **changes) -> str:
    """A job that has succeeded after so many seconds."""
    job_id = new_job(database, **changes)
    change_job(database, job_id, priority=100)
    hold = claim(database)
    assert hold.job_id == job_id
    with database.write() as session:
        lease.begin(session, hold)
        lease.record(session, hold, step=1000)
        lease.succeed(session, hold)
    change_job(database, job_id, spent_seconds=seconds)
    return job_id


@properties
@given(st.lists(st.tuples(st.sampled_from([-100, 0, 7]), st.integers(0, 2), st.booleans()), max_size=6))
def test_positions_are_those_in_which_jobs_are_claimed(database, jobs):
    report(database)
    for job in standing(database):
        with database.write() as session:
            commands.cancel(session, job.job)
    waiting = set()
    for priority, second, waits in jobs:
        job_id = new_job(database)
        run_at = now(600.0) if waits else datetime(2026, 1, 1, second=second, tzinfo=UTC)
        change_job(database, job_id, priority=priority, run_at=run_at)
        waiting |= {job_id} if waits else set()
    lines = standing(database)
    assert [line.place.position for line in lines] == list(range(1, len(jobs) + 1))
    shown = [line.job for line in lines]
    may_run = [job_id for job_id in shown if job_id not in waiting]
    assert shown[: len(may_run)] == may_run, "those that wait before another try come last"
    assert [claim(database).job_id for _ in may_run] == may_run


def test_a_line_says_which_job_it_is_and_since_when_it_waits(database):
    job_id = new_job(database, name="mine")
    change_job(database, job_id, priority=3)
    (line,) = standing(database)
    job = job_of(database, job_id)
    assert (line.job, line.name, line.priority, line.queued_at) == (job_id, "mine", 3, job.run_at)
    assert (line.architecture, line.dataset) == ("mlp", "digits")


def test_where_a_slot_is_free_and_nothing_before_it_a_job_starts_at_once(database):
    report(database, slots=2)
    claimed_job(database)
    new_job(database)
    new_job(database)
    assert estimates(database) == [0.0, None], "nobody knows how long a job takes"


def test_without_a_worker_that_takes_jobs_nobody_can_say(database):
    past_job(database, 100.0)
    new_job(database)
    assert estimates(database) == [None]
    report(database, status=WorkerStatus.DRAINING)
    assert estimates(database) == [None]
    report(database)
    assert estimates(database) == [0.0]


def test_a_running_job_frees_its_slot_after_what_it_still_needs_at_its_speed(database):
    report(database)
    hold = running_job(database)
    with database.write() as session:
        lease.record(session, hold, step=400, samples_per_second=100.0)
    new_job(database)
    assert estimates(database) == [600 * 32 / 100]


def test_accumulated_batches_count(database):
    report(database)
    new_job(database, optimizer={"name": "SGD", "accumulate": 4})
    hold = claim(database)
    with database.write() as session:
        lease.record(session, hold, samples_per_second=100.0)
    new_job(database)
    assert estimates(database) == [1000 * 32 * 4 / 100]


def test_a_job_that_has_not_told_its_speed_takes_what_its_kind_took(database):
    past_job(database, 50.0)
    past_job(database, 500.0, architecture={"name": "mlp", "hidden": [8]}, dataset={"name": "gaussian_linear"})
    report(database)
    claimed_job(database)
    new_job(database)
    new_job(database, steps=2000)
    new_job(database)
    assert estimates(database) == pytest.approx([50, 100, 200])


def test_a_kind_that_never_ran_takes_what_all_jobs_took(database):
    past_job(database, 50.0)
    past_job(database, 150.0)
    report(database)
    new_job(database, architecture={"name": "mlp", "hidden": [8]}, dataset={"name": "gaussian_linear"})
    new_job(database)
    assert estimates(database) == pytest.approx([0, 100])


def test_a_job_that_was_paused_needs_what_is_left_of_it(database):
    past_job(database, 100.0)
    report(database)
    hold = paused_job(database)
    change_job(database, hold.job_id, step=750)
    with database.write() as session:
        commands.resume(session, hold.job_id)
    new_job(database)
    assert estimates(database) == pytest.approx([0, 25])


def test_a_slot_whose_job_is_about_to_stop_is_as_good_as_free(database):
    past_job(database, 100.0)
    report(database)
    hold = running_job(database)
    new_job(database)
    with database.write() as session:
        commands.cancel(session, hold.job_id)
    assert estimates(database) == [0.0]


def test_a_job_that_waits_before_another_try_is_estimated_to_wait_that_long(database):
    report(database)
    job_id = new_job(database)
    change_job(database, job_id, run_at=now(300.0), priority=100)
    assert estimates(database) == pytest.approx([300], abs=5)


def test_places_are_those_of_queued_jobs_alone(database):
    running, first, second = running_job(database), new_job(database), new_job(database)
    with database.read() as session:
        jobs = [job_of(database, job_id) for job_id in (running.job_id, second, first)]
        assert {id: place.position for id, place in queue.places(session, jobs).items()} == {first: 1, second: 2}
    with statements(database) as sent, database.read() as session:
        assert queue.places(session, [job_of(database, running.job_id)]) == {}
    assert not any("jobs.status = " in statement for statement in sent), "nothing is asked where nothing is queued"


def test_far_behind_a_position_is_known_and_the_start_is_not(database):
    report(database)
    ids = [new_job(database) for _ in range(3)]
    with database.read() as session:
        found = queue.places(session, [job_of(database, job_id) for job_id in ids], longest=1)
    assert found[ids[0]] == Place(position=1, estimated_start_seconds=0.0)
    assert found[ids[2]] == Place(position=3, estimated_start_seconds=None)
    assert [line.job for line in standing(database, limit=2)] == ids[:2]


def test_counts_are_of_all_jobs_and_of_slots_that_take_jobs(database):
    report(database, slots=3)
    past_job(database, 1.0)
    paused_job(database)
    claimed_job(database)
    running_job(database)
    new_job(database)
    with database.read() as session:
        assert queue.counts(session) == Counts(queued=1, running=2, slots=3)


def test_an_empty_queue_is_empty(database):
    assert standing(database) == []
    with database.read() as session:
        assert queue.counts(session) == Counts(queued=0, running=0, slots=0)
