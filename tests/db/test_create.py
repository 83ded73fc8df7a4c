"""What a submission leaves in the database, and how it is found again."""

import pytest
import sqlalchemy as sa

from db import jobs
from db.errors import NotFound
from db.spec.job import JobSpec
from db.status import Status
from db.tables import Outbox
from tests.db.support import attempts_of, contents, crashing, events_of, job_of, make_spec, new_job


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
