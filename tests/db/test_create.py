"""What a submission leaves in the database, and how it is found again."""

from itertools import chain

import pytest
import sqlalchemy as sa

from db import jobs
from db.errors import InvalidCursor, NotFound
from db.jobs import JobFilter
from db.spec.job import JobSpec
from db.status import Status
from db.tables import Job, Outbox
from tests.db.support import attempts_of, claim, contents, crashing, events_of, job_of, make_spec, new_job


def test_create_leaves_a_queued_job_its_message_and_its_first_event(database):
    job_id = new_job(database, name="mine", labels={"team": "a"}, seed=7)
    job = job_of(database, job_id)
    assert (job.status, job.attempt, job.lost_attempts, job.step, job.steps) == (Status.QUEUED, 0, 0, 0, 1000)
    assert (job.name, job.labels, job.norm, job.architecture, job.dataset) == (
        "mine",
        {"team": "a"},
        "batch",
        "mlp",
        "digits",
    )
    assert (job.lease_expires, job.finished_at, job.started_at, job.failure_code) == (None, None, None, None)
    with database.read() as session:
        assert session.execute(sa.select(Outbox.job_id, Outbox.sent_at)).all() == [(job_id, None)]
    assert events_of(database, job_id) == [(0, "queued", "submitted")]
    assert attempts_of(database, job_id) == []


def test_a_job_keeps_what_was_posted_and_the_same_with_every_default(database):
    spec = make_spec(epochs=2, steps=None)
    with database.write() as session:
        job_id = jobs.create(session, spec).id
    job = job_of(database, job_id)
    assert "evaluate" not in job.spec
    assert JobSpec.model_validate(job.spec) == spec
    assert JobSpec.model_validate(job.resolved) == spec.resolved()
    assert job.spec_hash == spec.digest()
    assert job.steps == spec.resolved().steps == 90


def test_create_that_is_rolled_back_leaves_nothing(database):
    before = contents(database)
    with crashing(database) as session:
        jobs.create(session, make_spec())
    assert contents(database) == before


def test_a_job_that_is_not_there_is_not_found(database):
    new_job(database)
    with database.read() as session, pytest.raises(NotFound, match="job_none"):
        jobs.get(session, "job_none")


def walk(database, where: JobFilter, limit: int = 10) -> list[list[str]]:
    """The ids of each page to the end."""
    pages, cursor = [], None
    while cursor is not None or not pages:
        with database.read() as session:
            page, cursor = jobs.page(session, where, limit, cursor)
            pages.append([job.id for job in page])
    return pages


def make_25(database) -> list[str]:
    """25 jobs, the newest first; every third without a norm, the oldest claimed."""
    ids = [new_job(database, **({"norm": {"name": "none"}} if number % 3 == 0 else {})) for number in range(25)]
    claim(database)
    return ids[::-1]


def test_pages_hold_every_job_once_from_the_newest_on(database):
    ids = make_25(database)
    pages = walk(database, JobFilter())
    assert [len(page) for page in pages] == [10, 10, 5]
    assert list(chain(*pages)) == ids
    assert [len(page) for page in walk(database, JobFilter(), limit=25)] == [25]


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        (JobFilter(norm="batch"), lambda job: job.norm == "batch"),
        (JobFilter(norm="none"), lambda job: job.norm == "none"),
        (JobFilter(status=Status.QUEUED), lambda job: job.status == Status.QUEUED),
        (JobFilter(status=Status.STARTING), lambda job: job.status == Status.STARTING),
        (JobFilter(norm="none", status=Status.QUEUED), lambda job: (job.norm, job.status) == ("none", "queued")),
        (JobFilter(architecture="mlp"), lambda job: True),
        (JobFilter(architecture="cnn"), lambda job: False),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_filtered_pages_hold_exactly_the_jobs_that_fit(database, where, wanted):
    make_25(database)
    with database.read() as session:
        expected = [job.id for job in session.scalars(sa.select(Job).order_by(Job.id.desc())) if wanted(job)]
    pages = walk(database, where, limit=4)
    assert list(chain(*pages)) == expected
    assert all(len(page) == 4 for page in pages[:-1])


def test_a_job_that_comes_while_one_pages_is_not_shown_and_moves_nothing(database):
    ids = make_25(database)
    with database.read() as session:
        first, cursor = jobs.page(session, JobFilter(), 10, None)
    new_job(database)
    with database.read() as session:
        second, _ = jobs.page(session, JobFilter(), 10, cursor)
    assert [job.id for job in first + second] == ids[:20]


@pytest.mark.parametrize("cursor", ["", "nonsense", "art_0198", "JOB_1", " job_1", "25", "job_\x00"])
def test_a_cursor_that_is_no_jobs_id_is_refused(database, cursor):
    new_job(database)
    with database.read() as session, pytest.raises(InvalidCursor):
        jobs.page(session, JobFilter(), 10, cursor)
