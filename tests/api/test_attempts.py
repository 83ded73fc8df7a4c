"""The attempts and the checkpoints of a job, and the models that are downloaded from them."""

import pytest

from db import checkpoints, lease
from db.base import now
from db.store import Store
from db.tables import Attempt
from tests.api.jobs import begin, claim, end, post, running, save
from tests.api.test_bad_input import problem


@pytest.fixture
def store(settings) -> Store:
    return Store(settings.store_url)


def attempts(http, job_id: str):
    return http.get(f"/v1/jobs/{job_id}/attempts").json()["data"]


def test_each_attempt_says_where_it_began_and_how_it_ended(http, database):
    job_id = post(http)
    assert attempts(http, job_id) == []
    first = claim(database, job_id)
    (waiting,) = attempts(http, job_id)
    assert (waiting["number"], waiting["worker"], waiting["start_step"]) == (1, "test", None)
    assert (waiting["first_step_at"], waiting["outcome"], waiting["seconds"]) == (None, None, None)
    begin(database, first)
    end(database, first, lease.release)
    second = claim(database, job_id)
    begin(database, second, start_step=4)
    end(database, second)
    one, two = attempts(http, job_id)
    assert (one["number"], one["start_step"], one["outcome"]) == (1, 0, "released")
    assert (two["number"], two["start_step"], two["outcome"]) == (2, 4, "completed")
    assert one["started_at"] <= one["first_step_at"] <= one["finished_at"] <= two["started_at"]
    assert 0 <= one["seconds"] < 30


def test_what_a_fork_began_with_is_no_attempt(http, database):
    job_id = post(http)
    with database.write() as session:
        session.add(Attempt(job_id=job_id, number=0, worker="fork", start_step=0, started_at=now()))
    assert attempts(http, job_id) == []


def test_attempts_of_a_job_that_is_not_there_are_404(http):
    problem(http.get("/v1/jobs/job_none/attempts"), 404)


@pytest.fixture
def scored(http, database, store):
    """A job whose second of three checkpoints is the best."""
    hold = running(http, database)
    for step, score in ((3, 0.5), (5, 0.9), (7, 0.8)):
        save(database, store, hold, step, score)
    return hold


def test_checkpoints_say_which_is_best(http, scored):
    found = http.get(f"/v1/jobs/{scored.job_id}/checkpoints").json()["data"]
    assert [(each["step"], each["score"], each["is_best"]) for each in found] == [
        (7, 0.8, False),
        (5, 0.9, True),
        (3, 0.5, False),
    ]
    assert {(each["epoch"], each["damaged_at"]) for each in found} == {(0, None)}


def test_a_damaged_checkpoint_says_so_and_is_not_the_best(http, database, scored):
    address = f"/v1/jobs/{scored.job_id}/checkpoints"
    damaged = next(each["id"] for each in http.get(address).json()["data"] if each["is_best"])
    with database.write() as session:
        checkpoints.mark_damaged(session, scored, damaged, 5, "why")
    found = {each["step"]: each for each in http.get(address).json()["data"]}
    assert found[5]["damaged_at"].endswith("Z")
    assert [step for step, each in found.items() if each["is_best"]] == [7]
    problem(http.get(f"/v1/jobs/{scored.job_id}/model", params={"checkpoint": "5"}), 409)


def test_without_scores_no_checkpoint_is_best(http, database, store):
    hold = running(http, database)
    save(database, store, hold, 1)
    (found,) = http.get(f"/v1/jobs/{hold.job_id}/checkpoints").json()["data"]
    assert (found["score"], found["is_best"]) == (None, False)
    problem(http.get(f"/v1/jobs/{hold.job_id}/model", params={"checkpoint": "best"}), 409)


@pytest.mark.parametrize(("which", "step"), [(None, 7), ("last", 7), ("best", 5), ("3", 3), ("5", 5)])
@pytest.mark.parametrize("format", ["safetensors", "config"])
def test_the_model_is_that_of_the_checkpoint_that_is_asked_for(http, scored, which, step, format):
    params = {"format": format} | ({"checkpoint": which} if which else {})
    answer = http.get(f"/v1/jobs/{scored.job_id}/model", params=params)
    assert answer.status_code == 200
    assert f"/step-{step}/" in answer.text


def test_a_step_that_was_not_kept_is_409_and_names_those_that_were(http, scored):
    document = problem(http.get(f"/v1/jobs/{scored.job_id}/model", params={"checkpoint": "4"}), 409)
    assert document["code"] == "no_model_yet"
    assert "3, 5, 7" in document["detail"]


@pytest.mark.parametrize("which", ["", "worst", "-1", "05", "1.5", "9" * 30])
def test_a_checkpoint_that_cannot_be_is_422(http, scored, which):
    answer = http.get(f"/v1/jobs/{scored.job_id}/model", params={"checkpoint": which})
    assert problem(answer, 422)["errors"][0]["pointer"] == "?checkpoint"


@pytest.mark.parametrize("which", ["best", "3"])
def test_population_statistics_are_of_the_newest_checkpoint_alone(http, scored, which):
    params = {"checkpoint": which, "statistics": "precise"}
    document = problem(http.get(f"/v1/jobs/{scored.job_id}/model", params=params), 422)
    assert document["code"] == "not_recalibrated"
    assert document["errors"][0]["allowed"] == ["last"]
