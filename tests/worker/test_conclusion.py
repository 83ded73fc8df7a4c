"""Every end of a job comes with its diagnosis, and none depends on it."""

import logging
import re

import pytest
import sqlalchemy as sa

from db import commands
from db.settings import WorkerSettings
from db.status import FailureCode, Status
from db.tables import Event
from tests.db.support import change_job, claim, events_of, job_of, new_job
from tests.worker.test_attempt import Orders
from worker.run import run_attempt
from worker.stop import Stop

DEEP = {"name": "mlp", "hidden": [64] * 8, "init": {"name": "normal", "std": 0.4}}


@pytest.fixture
def settings(database, tmp_path):
    return WorkerSettings(home=tmp_path, database_url=database.url.render_as_string(hide_password=False))


def ended(database, settings, orders=None, resolved=None, asked=None, **changes):
    job_id = new_job(database, **{"steps": 20, "device": "cpu"} | changes)
    if resolved:
        change_job(database, job_id, resolved=job_of(database, job_id).resolved | resolved)
    hold = claim(database)
    if asked is not None:
        with database.write() as session:
            asked(session, job_id)
    run_attempt(settings, hold, orders or Orders())
    return job_of(database, job_id)


def told(database, job_id):
    """What the timeline says of the diagnosis."""
    with database.read() as session:
        query = sa.select(Event).where(Event.job_id == job_id, Event.type == "diagnosis")
        return [event.data for event in session.scalars(query)]


def test_the_timeline_has_the_diagnosis_before_the_end(database, settings):
    job = ended(database, settings, norm={"name": "batch", "momentum": 0.001})
    assert [kind for _, kind, _ in events_of(database, job.id)][-2:] == ["diagnosis", "succeeded"]
    (event,) = told(database, job.id)
    assert event["findings"][0] == {"code": "init_residue", "severity": "bad"}
    assert event["summary"].startswith("At step 20: init_residue")


def test_a_cancelled_job_has_one_and_a_job_that_goes_back_has_none(database, settings):
    cancelled = ended(database, settings, Orders(Stop.CANCEL, after=5), asked=commands.cancel)
    assert (cancelled.status, len(told(database, cancelled.id))) == (Status.CANCELLED, 1)
    released = ended(database, settings, Orders(Stop.RELEASE, after=5))
    assert (released.status, told(database, released.id)) == (Status.QUEUED, [])


def test_a_job_that_diverged_is_told_why_with_its_own_numbers(database, settings):
    record = {"statistics": {"every": 1}, "optimizer": {"name": "SGD", "lr": 0.01}}
    job = ended(database, settings, architecture=DEEP, norm={"name": "none"}, **record)
    assert (job.status, job.failure_code) == (Status.FAILED, FailureCode.DIVERGED)
    assert "a step of the optimizer is" in job.failure_hint
    assert "it is 0.01; try 0.001)" in job.failure_hint
    assert "docs/diagnosis.md#exploding_gradients" in job.failure_hint
    (event,) = told(database, job.id)
    assert {"code": "exploding_gradients", "severity": "bad"} in event["findings"]


def test_steps_of_adamw_that_are_far_too_long_are_named(database, settings):
    job = ended(database, settings, optimizer={"name": "AdamW", "lr": 1000.0}, statistics={"every": 5})
    assert job.failure_code is FailureCode.DIVERGED
    (times,) = re.findall(r"a step of the optimizer is (\S+) times as long as the weights", job.failure_hint)
    assert 3e3 < float(times) < 3e4
    assert re.search(r"it is 1000; try 0.0\d+\)", job.failure_hint)
    (event,) = told(database, job.id)
    assert event["summary"].startswith(f"The job failed (diverged at step {job.failure_step}); ")


def test_depth_without_a_norm_is_named_where_nothing_was_recorded(database, settings):
    record = {"statistics": {"details": False}, "optimizer": {"name": "SGD", "lr": 10.0}}
    job = ended(database, settings, architecture=DEEP, norm={"name": "none"}, **record)
    assert "The network has 9 layers with weights and no norm between them" in job.failure_hint
    assert "it was 10; try 1" in job.failure_hint


def test_an_error_that_the_diagnosis_knows_nothing_of_keeps_its_own_advice(database, settings):
    record = {"statistics": {"details": False}, "optimizer": {"name": "SGD", "lr": 1e30}}
    job = ended(database, settings, norm={"name": "none"}, **record)
    assert job.failure_code is FailureCode.DIVERGED
    assert job.failure_hint.startswith("Lower optimizer.lr (it was 1e+30")


def test_no_fault_of_the_diagnosis_keeps_a_job_from_ending(database, settings, caplog):
    with caplog.at_level(logging.ERROR, logger="worker.conclusion"):
        job = ended(database, settings, resolved={"norm": {"name": "forgotten"}})
    assert job.failure_code is FailureCode.INVALID_SPEC
    (event,) = told(database, job.id)
    assert event == {
        "findings": [],
        "summary": "There is no diagnosis: making it failed, and the worker's log says why.",
    }
    assert [record.exc_info is not None for record in caplog.records] == [True]
