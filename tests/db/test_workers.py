"""What is known of the workers."""

import pytest
import sqlalchemy as sa

from db import workers
from db.base import now
from db.service_tables import Worker
from db.status import WorkerStatus
from db.workers import FORGOTTEN_AFTER, LOST_AFTER, WorkerState
from tests.db.support import claimed_job, new_job, running_job


def report(database, name: str = "worker", slots: int = 2, status=WorkerStatus.READY, device=None) -> None:
    with database.write() as session:
        workers.report(session, name, slots, status, device)


def silence(database, name: str, seconds: float) -> None:
    """Let time pass since the worker's last word."""
    with database.write() as session:
        session.execute(sa.update(Worker).where(Worker.name == name).values(seen_at=now(-seconds)))


def states(database) -> dict[str, WorkerState]:
    with database.read() as session:
        return {worker.name: worker for worker in workers.states(session)}


def test_a_worker_is_what_it_last_said_and_started_with_its_first_word(database):
    report(database, device="cpu")
    first = states(database)["worker"]
    assert (first.status, first.slots, first.busy, first.device) == ("ready", 2, 0, "cpu")
    silence(database, "worker", 20)
    report(database, slots=3, status=WorkerStatus.DRAINING, device="cuda")
    last = states(database)["worker"]
    assert (last.status, last.slots, last.device) == ("draining", 3, "cuda")
    assert last.started_at == first.started_at
    assert last.seen_at >= first.seen_at
    assert len(states(database)) == 1


@pytest.mark.parametrize("status", list(WorkerStatus))
def test_a_worker_that_is_not_heard_of_is_lost_until_it_speaks_again(database, status):
    report(database, "silent", status=status)
    report(database, "heard", status=status)
    silence(database, "silent", LOST_AFTER + 5)
    silence(database, "heard", LOST_AFTER - 5)
    assert {name: worker.status for name, worker in states(database).items()} == {
        "silent": "lost",
        "heard": status,
    }
    with database.read() as session:
        assert [worker.name for worker in workers.live(session)] == ["heard"]
    report(database, "silent", status=status)
    assert states(database)["silent"].status == status


def test_a_worker_is_busy_with_the_live_jobs_that_it_holds(database):
    report(database)
    report(database, "other")
    claimed_job(database)
    running_job(database)
    new_job(database)
    assert {name: worker.busy for name, worker in states(database).items()} == {"worker": 2, "other": 0}


def test_a_worker_that_ends_in_order_is_forgotten_at_once_and_a_lost_one_after_a_day(database):
    for name in ("ended", "lost", "long lost"):
        report(database, name)
    silence(database, "lost", FORGOTTEN_AFTER - 60)
    silence(database, "long lost", FORGOTTEN_AFTER + 60)
    with database.write() as session:
        workers.remove(session, "ended")
        workers.remove(session, "nobody")
        workers.purge(session)
    assert list(states(database)) == ["lost"]
