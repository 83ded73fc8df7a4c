"""The diagnosis over HTTP: of a job that waits, of one that ran, and of none."""

import pytest

from api.schemas.diagnosis import DiagnosisOut
from db.settings import WorkerSettings
from tests.api.test_bad_input import SPEC, problem
from tests.db.support import change_job, claim, job_of, new_job
from tests.services import ROOT
from tests.worker.test_attempt import Orders
from worker.diagnosis.rules import FAILED, RULES
from worker.run import run_attempt

FINDING_KEYS = {
    "code",
    "severity",
    "sites",
    "evidence",
    "explanation",
    "advice",
    "reference",
    "because_of",
}


def read(http, job_id):
    answer = http.get(f"/v1/jobs/{job_id}/diagnosis")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


def trained(settings, database, **changes):
    """A job of this spec, run to its end."""
    job_id = new_job(database, **{**SPEC, "device": "cpu", "statistics": {"every": 1}} | changes)
    change_job(database, job_id, priority=1000)
    hold = claim(database)
    assert hold.job_id == job_id
    run_attempt(WorkerSettings(home=settings.home, database_url=settings.database_url), hold, Orders())
    return job_id


def test_a_job_that_waits_has_its_spec_checked_and_says_what_is_missing(http):
    job = http.post("/v1/jobs", json={**SPEC, "steps": 1000, "norm": {"name": "sync_batch"}}).json()
    diagnosis = read(http, job["id"])
    (finding,) = diagnosis["findings"]
    assert set(finding) == FINDING_KEYS
    assert (finding["code"], finding["severity"]) == ("sync_in_one_process", "info")
    assert [check["status"] for check in diagnosis["checked"]] == ["not_checked"] * (len(RULES) - 1) + ["found"]
    assert all(check["reason"] for check in diagnosis["checked"][:-1])
    assert (diagnosis["step"], diagnosis["final"]) == (0, False)


def test_a_job_that_ran_is_told_what_is_wrong_with_numbers_and_advice(http, settings, database):
    job_id = trained(settings, database, norm={"name": "batch", "momentum": 0.001}, steps=100)
    diagnosis = read(http, job_id)
    worst = diagnosis["findings"][0]
    assert (worst["code"], worst["severity"], worst["because_of"]) == ("init_residue", "bad", None)
    assert worst["evidence"] == pytest.approx({"residue": 0.999**100, "updates": 100, "momentum": 0.001})
    assert "norm.momentum 0.047" in worst["advice"]
    page, anchor = worst["reference"].split("#")
    assert f"## {anchor}\n" in (ROOT / page).read_text(encoding="utf-8")
    follows = {finding["code"] for finding in diagnosis["findings"] if finding["because_of"] == "init_residue"}
    assert "statistics_drift" in follows
    assert (diagnosis["step"], diagnosis["final"]) == (100, True)
    events = http.get(f"/v1/jobs/{job_id}/events?limit=100").json()["data"]
    (told,) = (event["data"] for event in events if event["type"] == "diagnosis")
    assert told["summary"] == diagnosis["summary"]
    assert [finding["code"] for finding in told["findings"]] == [f["code"] for f in diagnosis["findings"]]


def test_numbers_that_are_not_finite_are_words(http, settings, database):
    nothing = {"name": "mlp", "hidden": [8, 8], "init": {"name": "normal", "std": 1e-30}}
    diagnosis = read(http, trained(settings, database, architecture=nothing))
    evidence = {finding["code"]: finding["evidence"] for finding in diagnosis["findings"]}
    assert evidence["vanishing_gradients"]["ratio"] == "Infinity"


def test_a_norm_whose_eps_is_that_of_the_number_type_has_a_diagnosis(http, settings, database):
    diagnosis = read(http, trained(settings, database, norm={"name": "rms"}, steps=20))
    assert "passed" in {check["status"] for check in diagnosis["checked"]}
    assert FAILED not in [check["reason"] for check in diagnosis["checked"]]


def test_a_fault_of_the_answer_is_not_told_as_one_of_the_spec(http, database, monkeypatch):
    def of(diagnosis):
        return DiagnosisOut.model_validate({})

    job_id = new_job(database)
    monkeypatch.setattr(DiagnosisOut, "of", of)
    assert problem(http.get(f"/v1/jobs/{job_id}/diagnosis"), 500)["code"] == "internal_error"


def test_no_job_has_no_diagnosis(http):
    assert problem(http.get("/v1/jobs/job_unknown/diagnosis"), 404)["code"] == "not_found"


def test_a_spec_that_is_not_taken_any_more_has_none_either(http, database):
    job_id = new_job(database)
    resolved = job_of(database, job_id).resolved | {"norm": {"name": "forgotten"}}
    change_job(database, job_id, resolved=resolved)
    document = problem(http.get(f"/v1/jobs/{job_id}/diagnosis"), 409)
    assert document["code"] == "spec_not_taken_any_more"
