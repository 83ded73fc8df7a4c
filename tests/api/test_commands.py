"""What may be asked of a job over HTTP, in each status."""

import pytest

from db import lease, outbox
from db.tables import Outbox
from tests.api.jobs import claim, end, fail, post, running
from tests.api.test_bad_input import SPEC, problem
from tests.db.support import change_job, job_of


def ask(http, job_id: str, command: str, status: int):
    answer = http.post(f"/v1/jobs/{job_id}/{command}")
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_queued_job_is_cancelled_at_once_and_the_same_again_is_no_error(http):
    job_id = post(http)
    job = ask(http, job_id, "cancel", 202)
    assert (job["status"], job["reason"]) == ("cancelled", "cancelled")
    assert ask(http, job_id, "cancel", 200) == job


def test_a_running_job_is_paused_resumed_cancelled_and_retried(http, database):
    hold = running(http, database)
    job_id = hold.job_id
    assert ask(http, job_id, "pause", 202)["status"] == "pausing"
    assert ask(http, job_id, "pause", 200)["status"] == "pausing"
    end(database, hold, lease.paused)
    assert ask(http, job_id, "pause", 200)["status"] == "paused"
    assert ask(http, job_id, "resume", 202)["status"] == "queued"
    assert ask(http, job_id, "resume", 200)["status"] == "queued"
    hold = claim(database, job_id)
    assert ask(http, job_id, "resume", 200)["status"] == "starting"
    assert ask(http, job_id, "cancel", 202)["status"] == "cancelling"
    end(database, hold, lease.cancelled)
    job = ask(http, job_id, "retry", 202)
    assert (job["status"], job["reason"], job["finished_at"]) == ("queued", "retried", None)
    assert ask(http, job_id, "retry", 200)["status"] == "queued"


@pytest.mark.parametrize("command", ["resume", "retry"])
def test_a_job_that_is_queued_again_has_its_message_sent(http, database, command):
    hold = running(http, database)
    if command == "resume":
        ask(http, hold.job_id, "pause", 202)
        end(database, hold, lease.paused)
    else:
        end(database, hold, fail)
    ask(http, hold.job_id, command, 202)
    with database.read() as session:
        assert session.get_one(Outbox, hold.job_id).sent_at is not None
        assert hold.job_id not in outbox.due(session, 1000, also_lost=True)


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        ("cancel", ["queued", "paused", "starting", "running"]),
        ("pause", ["starting", "running"]),
        ("resume", ["paused"]),
        ("retry", ["failed", "cancelled"]),
    ],
)
def test_what_the_status_does_not_allow_is_409_and_says_what_is(http, database, command, allowed):
    hold = running(http, database)
    end(database, hold)
    document = problem(http.post(f"/v1/jobs/{hold.job_id}/{command}"), 409)
    assert (document["code"], document["allowed"]) == ("transition_refused", allowed)
    assert "succeeded" in document["detail"]


@pytest.mark.parametrize("command", ["cancel", "pause", "resume", "retry"])
@pytest.mark.parametrize("job_id", ["job_none", "job_" + "0" * 32])
def test_a_job_that_is_not_there_is_404(http, command, job_id):
    problem(http.post(f"/v1/jobs/{job_id}/{command}"), 404)


def test_name_labels_and_priority_may_be_changed(http):
    job_id = post(http, name="old", labels={"a": "1", "b": "2"})
    answer = http.patch(f"/v1/jobs/{job_id}", json={"name": "new", "labels": {"b": "3"}, "priority": -100})
    job = answer.json()
    assert (answer.status_code, job["name"], job["labels"], job["priority"]) == (200, "new", {"b": "3"}, -100)
    assert http.get(f"/v1/jobs/{job_id}").json()["name"] == "new"
    assert job["spec"]["name"] == "old", "what was posted stays"
    line = http.get(f"/v1/jobs/{job_id}/events").json()["data"][-1]
    assert (line["type"], line["data"]["after"]["priority"]) == ("changed", -100)


def test_what_a_change_leaves_out_stays_and_null_takes_the_name_away(http):
    job_id = post(http, name="old", labels={"a": "1"})
    job = http.patch(f"/v1/jobs/{job_id}", json={"name": None}).json()
    assert (job["name"], job["labels"], job["priority"]) == (None, {"a": "1"}, 0)


def test_a_job_that_has_ended_may_be_changed_too(http, database):
    hold = running(http, database)
    end(database, hold, fail)
    assert http.patch(f"/v1/jobs/{hold.job_id}", json={"priority": 5}).json()["priority"] == 5
    assert ask(http, hold.job_id, "retry", 202)["priority"] == 5


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "", "nothing_to_change"),
        ({"priority": 101}, "/priority", None),
        ({"priority": "1"}, "/priority", None),
        ({"priority": None}, "/priority", None),
        ({"labels": None}, "/labels", None),
        ({"labels": {"": "x"}}, "/labels", None),
        ({"name": ""}, "/name", None),
        ({"nam": "x"}, "/nam", None),
        ({"status": "succeeded"}, "/status", None),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_and_nothing_is_changed(http, body, pointer, code):
    job_id = post(http, name="old")
    before = http.get(f"/v1/jobs/{job_id}").json()
    (error,) = problem(http.patch(f"/v1/jobs/{job_id}", json=body), 422)["errors"]
    assert error["pointer"].startswith(pointer)
    assert code is None or (error["code"], error["allowed"]) == (code, ["name", "labels", "priority"])
    assert http.get(f"/v1/jobs/{job_id}").json() == before


@pytest.mark.parametrize("priority", [-100, 0, 100])
def test_a_job_has_the_priority_that_it_was_posted_with(http, priority):
    answer = http.post("/v1/jobs", json=SPEC, params={"priority": priority})
    assert (answer.status_code, answer.json()["priority"]) == (201, priority)


@pytest.mark.parametrize("priority", ["-101", "101", "high", "1.5", ""])
def test_a_priority_beyond_the_range_is_refused(http, priority):
    (error,) = problem(http.post("/v1/jobs", json=SPEC, params={"priority": priority}), 422)["errors"]
    assert error["pointer"] == "?priority"


def test_a_fork_says_where_it_comes_from(http, database):
    job_id = post(http)
    assert http.get(f"/v1/jobs/{job_id}").json()["origin"] is None
    change_job(database, job_id, origin={"kind": "fork", "job": "job_x"})
    assert http.get(f"/v1/jobs/{job_id}").json()["origin"] == {"kind": "fork", "job": "job_x"}
    assert job_of(database, job_id).origin["kind"] == "fork"
