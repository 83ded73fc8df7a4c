"""The evidence in the database is that of the run."""

import pytest
from pydantic import ValidationError

from db import jobs
from db.errors import NotFound
from db.settings import WorkerSettings
from db.status import Status
from tests.db.support import change_job, claim, job_of, new_job, statements
from tests.worker.diagnosis.support import codes
from tests.worker.diagnosis.trained import evidence_of
from tests.worker.support import small_spec, trained
from tests.worker.test_attempt import Orders
from worker.diagnosis.diagnose import diagnose
from worker.diagnosis.load import diagnosis, evidence
from worker.run import run_attempt

SPEC = {
    "architecture": {"name": "mlp", "hidden": [16, 16]},
    "norm": {"name": "batch", "momentum": 0.01},
    "steps": 60,
    "statistics": {"every": 2},
    "evaluate": {"every": 20},
    "device": "cpu",
}


@pytest.fixture
def settings(database, tmp_path):
    return WorkerSettings(home=tmp_path, database_url=database.url.render_as_string(hide_password=False))


@pytest.fixture
def finished(database, settings):
    job_id = new_job(database, **SPEC)
    run_attempt(settings, claim(database), Orders())
    assert job_of(database, job_id).status is Status.SUCCEEDED
    return job_id


def test_the_record_gives_the_diagnosis_of_the_run_itself(database, finished, digits):
    _, reporter = trained(digits, **SPEC)
    expected = evidence_of(small_spec(**SPEC), reporter)
    with database.read() as session:
        found = evidence(session, jobs.get(session, finished))
        stored = diagnosis(session, finished)
    assert found.metrics["gap/precise/accuracy"] == expected.metrics["gap/precise/accuracy"]
    assert found.train_batches == pytest.approx(expected.train_batches)
    assert stored == diagnose(expected)
    assert codes(stored)[0] == "init_residue"
    assert (stored.step, stored.final) == (60, True)


def test_reading_takes_few_queries(database, finished):
    with statements(database) as sent, database.read() as session:
        diagnosis(session, finished)
    assert len(sent) < 20


def test_a_job_that_waits_has_a_diagnosis_of_its_spec(database):
    job_id = new_job(database, batch_size=2)
    with database.read() as session:
        found = diagnosis(session, job_id)
    assert codes(found) == ["two_values_per_channel", "single_sample_batch"]
    assert (found.step, found.final) == (0, False)


def test_a_bias_that_nobody_asked_for_is_not_spoken_of(database):
    layers = [
        {"name": "flatten"},
        {"name": "linear", "units": 8},
        {"name": "norm"},
        {"name": "linear", "units": 10},
    ]
    architecture = {"name": "sequential", "layers": layers}
    for named, expected in ((False, []), (True, ["bias_before_norm"])):
        if named:
            layers[1]["bias"] = True
        with database.read() as session:
            assert codes(diagnosis(session, new_job(database, architecture=architecture))) == expected


def test_unknown_jobs_and_specs_that_are_not_taken_any_more_are_errors(database):
    job_id = new_job(database)
    change_job(database, job_id, resolved=job_of(database, job_id).resolved | {"norm": {"name": "forgotten"}})
    with database.read() as session:
        with pytest.raises(NotFound):
            diagnosis(session, "job_unknown")
        with pytest.raises(ValidationError):
            diagnosis(session, job_id)
