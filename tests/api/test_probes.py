"""Measurements of probes over HTTP."""

import pytest

from db import chunks, lease
from db.memory import training_memory
from db.probes import ProbeWriter
from db.spec.job import JobSpec
from tests.api.test_bad_input import SPEC, changed, problem
from tests.db.support import change_job

PROBES = [{"name": "landscape", "every": 5, "points": 3}, {"name": "covariate_shift"}]


@pytest.fixture
def measured(http, database):
    """The address of a job's probes, with three measurements of its landscape."""
    job = http.post("/v1/jobs", json=changed(probes=PROBES)).json()
    change_job(database, job["id"], priority=1000)  # before all that other tests have queued
    with database.write() as session:
        hold = lease.claim(session, "test", 60)
    assert hold.job_id == job["id"]
    with database.write() as session:
        lease.start_from(session, hold, 0, 0)
    writer = ProbeWriter(hold, "landscape", 3)
    for step in (5, 10, 15):
        values = {"loss": float(step), "loss_max": float("inf"), "norm1/jitter": float("nan")}
        writer.add(step, values)
    with database.write() as session:
        chunks.write(session, [writer.stream])
    yield f"/v1/jobs/{hold.job_id}/probes"
    with database.write() as session:
        lease.begin(session, hold)
        lease.succeed(session, hold)


def test_an_answer_has_the_options_of_the_spec_and_columns(http, measured):
    answer = http.get(f"{measured}/landscape").json()
    cursor = answer.pop("cursor")
    assert answer == {
        "name": "landscape",
        "options": {"every": 5, "points": 3, "low": 0.5, "high": 4.0, "largest_step": 0.4},
        "step": [5, 10, 15],
        "values": {"loss": [5.0, 10.0, 15.0], "loss_max": ["Infinity"] * 3},
        "layers": {"norm1": {"jitter": ["NaN"] * 3}},
        "more": False,
    }
    assert http.get(f"{measured}/landscape", params={"after": cursor}).json()["step"] == []


def test_steps_are_chosen_as_those_of_metrics(http, measured):
    part = http.get(f"{measured}/landscape", params={"from_step": 6, "to_step": 10}).json()
    assert part["step"] == [10]
    assert http.get(f"{measured}/landscape", params={"after": part["cursor"]}).json()["step"] == [15]
    wrong = problem(http.get(f"{measured}/landscape", params={"after": "nonsense"}), 422)
    assert wrong["errors"][0]["pointer"] == "?after"


def test_a_probe_that_has_measured_nothing_yet_is_empty(http, measured):
    answer = http.get(f"{measured}/covariate_shift").json()
    assert (answer["step"], answer["values"], answer["layers"]) == ([], {}, {})


def test_a_probe_that_the_job_has_not_is_refused_with_those_that_it_has(http, measured):
    found = problem(http.get(f"{measured}/geometry"), 404)
    assert found["code"] == "no_such_probe"
    assert found["allowed"] == ["landscape", "covariate_shift"]
    near = problem(http.get(f"{measured}/landscapes"), 404)
    assert "Did you mean 'landscape'?" in near["detail"]


def test_what_probes_hold_counts_as_the_jobs_memory():
    bare, probed = (training_memory(JobSpec.model_validate(changed(probes=probes))) for probes in ([], PROBES))
    assert probed.total == bare.total + 5 * bare.parameters


def test_a_job_without_probes_says_how_to_have_some(http):
    job = http.post("/v1/jobs", json=SPEC).json()
    found = problem(http.get(f"/v1/jobs/{job['id']}/probes/landscape"), 404)
    assert "`probes` of the spec" in found["detail"]
