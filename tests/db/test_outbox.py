"""Messages: sent after the commit, sent again until the job is claimed."""

import sqlalchemy as sa

from db import lease, outbox, recovery
from db.base import now
from db.outbox import RESEND_AFTER
from db.recovery import Retries
from db.tables import Job, Outbox
from tests.db.support import change_job, claim, new_job, running_job


def due(database, *, also_lost: bool = False, limit: int = 100) -> list[str]:
    with database.read() as session:
        return list(outbox.due(session, limit, also_lost=also_lost))


def mark_sent(database, job_id: str, seconds_ago: float = 0.0) -> None:
    with database.write() as session:
        outbox.mark_sent(session, job_id)
        if seconds_ago:
            session.execute(sa.update(Outbox).where(Outbox.job_id == job_id).values(sent_at=now(-seconds_ago)))


def test_a_message_is_due_until_it_is_sent(database):
    job_id = new_job(database)
    assert due(database) == [job_id]
    mark_sent(database, job_id)
    assert due(database) == []
    assert due(database, also_lost=True) == []


def test_a_message_that_may_be_lost_is_due_again_only_where_that_is_asked_for(database):
    lost, fresh = new_job(database), new_job(database)
    mark_sent(database, lost, seconds_ago=RESEND_AFTER + 5)
    mark_sent(database, fresh, seconds_ago=RESEND_AFTER - 5)
    assert due(database, also_lost=True) == [lost]
    assert due(database) == []
    mark_sent(database, lost)
    assert due(database, also_lost=True) == []


def test_a_claimed_job_has_no_message(database):
    job_id = new_job(database)
    mark_sent(database, job_id, seconds_ago=RESEND_AFTER + 5)
    claim(database)
    assert due(database, also_lost=True) == []
    mark_sent(database, job_id)  # the broker's answer may come after the claim
    assert due(database, also_lost=True) == []


def test_a_released_job_has_a_new_message(database):
    hold = running_job(database)
    with database.write() as session:
        lease.release(session, hold)
    assert due(database) == [hold.job_id]


def test_a_lost_job_has_a_message_once_its_backoff_is_over(database):
    hold = running_job(database)
    with database.write() as session:
        recovery.give_up_or_retry(session, hold, recovery.lost("gone"), Retries())
    assert due(database) == []
    change_job(database, hold.job_id, run_at=now(-1.0))
    assert due(database) == [hold.job_id]


def test_messages_are_due_by_priority_and_then_by_age_and_limited(database):
    ids = [new_job(database) for _ in range(4)]
    change_job(database, ids[2], priority=3)
    assert due(database) == [ids[2], ids[0], ids[1], ids[3]]
    assert due(database, limit=2) == [ids[2], ids[0]]


def test_a_message_of_a_job_that_is_not_queued_is_never_due(database):
    hold = running_job(database)
    with database.write() as session:
        outbox.add(session, hold.job_id)
    assert due(database, also_lost=True) == []
    with database.write() as session:
        assert session.scalar(sa.select(Job.status)) == "running"
        outbox.remove(session, hold.job_id)
        assert session.scalars(sa.select(Outbox.job_id)).all() == []
