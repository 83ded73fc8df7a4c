"""Who gets which job."""

import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import attempts, events, lease
from db.base import now
from db.events import EventType
from db.status import Status
from db.tables import Attempt, Job
from tests.db.support import (
    attempts_of,
    change_job,
    claim,
    claimed_job,
    contents,
    events_of,
    job_of,
    new_job,
    properties,
    running_job,
    seconds_from_now,
    superseded_job,
)


def test_nothing_is_claimed_where_nothing_is_queued(database):
    running_job(database)
    before = contents(database)
    with database.write() as session:
        assert lease.claim(session, "worker", 30.0) is None
    assert contents(database) == before


def test_a_claim_takes_the_lease_the_attempt_and_the_message(database):
    job_id = new_job(database)
    hold = claim(database, lease_seconds=45.0)
    job = job_of(database, job_id)
    assert (hold.job_id, hold.attempt) == (job_id, 1)
    assert (job.status, job.attempt, job.worker) == (Status.STARTING, 1, "worker")
    assert seconds_from_now(database, Job.lease_expires, job_id) == pytest.approx(45, abs=5)
    assert job.started_at is not None
    assert contents(database)["outbox"] == []
    assert attempts_of(database, job_id) == [(1, None)]
    assert events_of(database, job_id)[-1] == (1, "starting", "claimed")


def test_jobs_are_claimed_by_priority_and_then_by_age(database):
    ids = [new_job(database) for _ in range(5)]
    change_job(database, ids[3], priority=5)
    change_job(database, ids[4], priority=5)
    change_job(database, ids[0], priority=-1)
    claimed = [claim(database).job_id for _ in ids]
    assert claimed == [ids[3], ids[4], ids[1], ids[2], ids[0]]


def test_a_job_is_not_claimed_before_its_time(database):
    early, late = new_job(database), new_job(database)
    change_job(database, early, run_at=now(60.0), priority=9)
    assert claim(database).job_id == late
    with database.write() as session:
        assert lease.claim(session, "worker", 30.0) is None
    change_job(database, early, run_at=now(-1.0))
    assert claim(database).job_id == early


def test_each_claim_of_a_job_raises_the_attempt_and_keeps_what_it_shows(database):
    job_id = new_job(database)
    first_step_at = None
    for number in range(1, 4):
        hold = claim(database)
        assert hold.attempt == number
        job = job_of(database, job_id)
        done = number - 1
        assert (job.step, job.epoch, job.latest) == (9 * done, done, {"a": done} if done else {})
        assert job.first_step_at == first_step_at
        with database.write() as session:
            lease.begin(session, hold)
            lease.record(session, hold, step=9 * number, epoch=number, latest={"a": number})
            lease.release(session, hold)
        first_step_at = first_step_at or job_of(database, job_id).first_step_at
    assert attempts_of(database, job_id) == [(1, "released"), (2, "released"), (3, "released")]


def test_an_attempt_says_where_it_starts_once_it_knows(database):
    new_job(database)
    hold = claim(database)
    assert start_steps(database, hold.job_id) == [None]
    with database.write() as session:
        lease.start_from(session, hold, 20, 3, latest={"a": 1}, best={"b": 2})
    job = job_of(database, hold.job_id)
    assert (job.step, job.epoch, job.latest, job.best) == (20, 3, {"a": 1}, {"b": 2})
    assert start_steps(database, hold.job_id) == [20]
    assert events_of(database, hold.job_id)[-1][:2] == (1, "resumed")


def start_steps(database, job_id: str) -> list[int | None]:
    with database.read() as session:
        return [attempt.start_step for attempt in attempts.list_for(session, job_id)]


def test_the_outset_of_a_fork_is_no_attempt(database):
    hold = claimed_job(database)
    with database.write() as session:
        session.add(Attempt(job_id=hold.job_id, number=0, worker="fork", start_step=0, started_at=now()))
    with database.read() as session:
        assert [attempt.number for attempt in attempts.list_for(session, hold.job_id)] == [1]


@properties
@given(st.lists(st.tuples(st.sampled_from([-1, 0, 100]), st.integers(0, 2)), max_size=8))
def test_claims_go_by_priority_then_time_then_id(database, jobs):
    made = []
    for priority, seconds_ago in jobs:
        job_id = new_job(database)
        change_job(
            database, job_id, priority=priority, run_at=datetime(2026, 1, 1, 0, 0, 10 - seconds_ago, tzinfo=UTC)
        )
        made.append((-priority, -seconds_ago, job_id))
    assert [claim(database).job_id for _ in made] == [job_id for *_, job_id in sorted(made)]


def test_threads_claim_every_job_exactly_once(database):
    ids = [new_job(database) for _ in range(40)]
    start, claimed = threading.Barrier(8), []

    def work(name: str) -> None:
        start.wait()
        while True:
            with database.write() as session:
                hold = lease.claim(session, name, 30.0)
            if hold is None:
                return
            claimed.append((hold.job_id, hold.attempt, name))

    threads = [threading.Thread(target=work, args=(f"worker{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted((job_id, 1, job_of(database, job_id).worker) for job_id in ids)


def test_two_claims_that_overlap_take_different_jobs(database):
    if database.is_sqlite:
        pytest.skip("on SQLite a second write waits for the first")
    ids = {new_job(database), new_job(database)}
    with database.write() as one, database.write() as other:
        holds = {lease.claim(one, "one", 30.0).job_id, lease.claim(other, "other", 30.0).job_id}
    assert holds == ids


def test_status_tells_what_clients_want_and_how_the_attempt_ended(database):
    hold = running_job(database)
    with database.read() as session:
        assert lease.status(session, hold) is Status.RUNNING
    with database.write() as session:
        lease.succeed(session, hold)
        assert lease.status(session, hold) is Status.SUCCEEDED
    stale, current = superseded_job(database)
    with database.read() as session:
        assert lease.status(session, current) is Status.STARTING
        with pytest.raises(lease.AttemptSuperseded):
            lease.status(session, stale)


def test_events_are_numbered_without_gaps_whoever_writes_them(database):
    job_id = new_job(database)
    start = threading.Barrier(4)

    def write(number: int) -> None:
        start.wait()
        for line in range(5):
            with database.write() as session:
                events.add(session, job_id, 0, EventType.WARNING, writer=number, line=line)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        found = events.after(session, job_id, 0, 100)
        assert [event.seq for event in found] == list(range(1, 22))
        for number in range(4):
            assert [e.data["line"] for e in found if e.data.get("writer") == number] == list(range(5))
        assert [event.seq for event in events.after(session, job_id, 18, 2)] == [19, 20]
        assert list(events.after(session, job_id, 21, 10)) == []
