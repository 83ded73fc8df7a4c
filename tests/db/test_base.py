"""Ids and times."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

from db.ids import new_id
from db.tables import Job
from tests.db.support import change_job, job_of, new_job


def test_ids_made_one_after_the_other_ascend_and_differ():
    ids = [new_id("job") for _ in range(20_000)]
    assert all(one < other for one, other in pairwise(ids))
    assert all(len(each) == len("job_") + 32 for each in ids)


def test_times_come_back_in_utc_whatever_zone_they_were_given_in(database):
    job_id = new_job(database)
    given = datetime(2026, 7, 1, 12, 30, 0, 123000, tzinfo=timezone(timedelta(hours=-5)))
    change_job(database, job_id, run_at=given)
    found = job_of(database, job_id).run_at
    assert found == given
    assert found.tzinfo == UTC


def test_times_in_the_database_compare_as_times(database):
    early, late = new_job(database), new_job(database)
    change_job(database, early, run_at=datetime(2026, 1, 1, 23, tzinfo=timezone(timedelta(hours=2))))
    change_job(database, late, run_at=datetime(2026, 1, 1, 22, tzinfo=UTC))
    with database.read() as session:
        boundary = datetime(2026, 1, 1, 16, 30, tzinfo=timezone(timedelta(hours=-5)))
        assert session.query(Job.id).where(Job.run_at < boundary).all() == [(early,)]
