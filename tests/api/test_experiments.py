"""Experiments over HTTP: declared, refused with the place of what is wrong, read, stopped."""

import csv
import io

import pytest
import sqlalchemy as sa

from db.experiments.tables import Cell, Experiment
from db.tables import Job
from tests.api.jobs import begin, claim, end, fail
from tests.api.test_bad_input import SPEC, problem

BASE = {key: value for key, value in SPEC.items() if key != "norm"}
BATCH = {"norm": ["batch"]}
EPS = "/search/space/norm.eps"
AXES = {"norm": ["none", "batch"], "optimizer.lr": [0.1, 0.3]}


@pytest.fixture(autouse=True)
def no_experiments(database):
    """None from the test before, so that nothing is found that was not posted."""
    with database.write() as session:
        session.execute(sa.delete(Experiment))
        session.execute(sa.delete(Job))


def post(http, *, expect: int = 201, headers: dict[str, str] | None = None, **changes):
    body = {"name": "sweep", "base": BASE, "axes": AXES, "seeds": 2} | changes
    answer = http.post("/v1/experiments", json=body, headers=headers)
    assert answer.status_code == expect, answer.text
    return answer


def searched(values):
    return {"name": "optuna", "trials": 2, "space": {"norm.eps": values}}


def refused(http, **changes) -> list[tuple[str, str]]:
    """Place and code of each error."""
    found = problem(post(http, expect=422, **changes), 422)
    return [(error["pointer"], error["code"]) for error in found["errors"]]


def jobs_of(database) -> int:
    with database.read() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(Job))


def test_an_experiment_is_declared_once_however_often_it_is_posted(http, database):
    answer = post(http)
    made = answer.json()
    assert answer.headers["Location"] == f"/v1/experiments/{made['id']}"
    assert (made["status"], made["created"], made["added"]) == ("running", True, 8)
    assert made["counts"] == {"declared": 8, "excluded": 0, "equal": 0}
    assert made["progress"]["cells"] == {"queued": 8}
    assert made["progress"]["total"] == 8
    again = post(http, expect=200).json()
    assert (again["id"], again["created"], again["added"]) == (made["id"], False, 0)
    assert jobs_of(database) == 8
    assert post(http, expect=200, seeds=3).json()["added"] == 4


def test_a_key_replays_the_first_answer(http, database):
    headers = {"Idempotency-Key": "sweep-1"}
    first, again = post(http, headers=headers), post(http, headers=headers)
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert jobs_of(database) == 8


def test_nothing_is_stored_of_what_is_refused(http, database):
    assert refused(http, axes={"norm": ["batch", "bath"]})
    assert jobs_of(database) == 0
    assert http.get("/v1/experiments").json() == {"data": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"axes": {"norm": ["batch", "bath"]}}, ("/axes/norm/1", "union_tag_invalid")),
        ({"axes": {"norm": ["none", {"name": "group", "groups": 3}]}}, ("/axes/norm/1/groups", None)),
        ({"axes": {"optimizer.lr": [0.1, -1]}}, ("/axes/optimizer.lr/1", "greater_than")),
        ({"arms": [{"name": "a", "set": {"batch_size": 0}}]}, ("/arms/0/set/batch_size", "greater_than_equal")),
        ({"base": {**BASE, "steps": 0}}, ("/base/steps", "greater_than_equal")),
        ({"base": {}}, ("/base/dataset", "missing")),
        ({"base": {**BASE, "bathc": 1}}, ("/base/bathc", "unknown_path")),
        ({"axes": {"norn": ["batch"]}}, ("/axes/norn", "unknown_path")),
        ({"axes": {"../etc": [1]}}, ("/axes/../etc", None)),
        ({"baseline": {"norm": "layer"}}, ("/baseline", "no_such_arm")),
        ({"target": {"metric": "test/akkuracy", "value": 1}}, ("/target/metric", "metric_not_evaluated")),
        ({"exclude": [{"batch_size": 32}], "base": {**BASE, "batch_size": 32}}, ("/exclude", "no_cells")),
        ({"max_parallel": 0}, ("/max_parallel", "greater_than_equal")),
        ({"seeds": [1, 1]}, ("/seeds", "not_distinct")),
        ({"preset": "ioffe2051-mnist"}, ("/preset", "unknown_preset")),
        ({"search": {"name": "optuna", "trials": 1, "space": {}}}, ("/search/space", "too_short")),
        ({"search": searched([0.1, 1])}, ("/search/space/norm.eps", "no_range")),
        ({"search": searched({"low": 0.1})}, ("/search/space/norm.eps/high", "missing")),
        ({"search": searched({"choices": [1]})}, ("/search/space/norm.eps/choices", "too_short")),
        (
            {"search": searched({"low": -1.0, "high": 1.0}), "axes": BATCH},
            ("/search/space/norm.eps/low", "greater_than"),
        ),
        (
            {"search": searched({"choices": [0.1, "x"]}), "axes": BATCH},
            ("/search/space/norm.eps/choices/1", "float_type"),
        ),
        ({"preset": "depth", "scale": ["smoke"], "base": {}, "axes": {}}, ("/scale", "literal_error")),
        ({"seeds": "3"}, ("/seeds", "no_seeds")),
        ({"exclude": [{"norm": "layer"}]}, ("/exclude/0", "no_such_cell")),
        ({"unknown": 1}, ("/unknown", "extra_forbidden")),
    ],
)
def test_what_is_wrong_is_named_where_it_was_written(http, changes, expected):
    found = refused(http, **changes)
    pointers = [pointer for pointer, _ in found]
    assert expected[0].replace("../", "..~1") in pointers or expected[0] in pointers, found
    if expected[1] is not None:
        assert expected in found


def only_error(http, **changes):
    (error,) = problem(post(http, expect=422, **changes), 422)["errors"]
    return error


@pytest.mark.parametrize("path", ["lr", "optimizer.learning_rate"])
def test_a_wrong_path_is_told_once_with_what_was_meant(http, path):
    error = only_error(http, axes={path: [0.1, 0.3, 1.0]})
    assert (error["pointer"], error["suggestion"]) == (f"/axes/{path}", "Did you mean 'optimizer.lr'?")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"axes": {"norm.groups": [2, 4]}}, "/axes/norm.groups"),
        ({"axes": {}, "arms": [{"name": "GN", "set": {"norm.groups": 2}}]}, "/arms/0/set/norm.groups"),
        (
            {"axes": {}, "search": {"name": "optuna", "trials": 2, "space": {"norm.groups": {"choices": [2, 4]}}}},
            "/search/space/norm.groups",
        ),
    ],
)
def test_a_field_that_the_chosen_norm_lacks_is_told_once(http, changes, pointer):
    error = only_error(http, **changes)
    assert (error["pointer"], error["code"]) == (pointer, "not_of_this_part")
    assert error["message"].startswith("Here norm is 'none', which has no 'groups'.")
    assert "group," in error["message"]


def test_limits_are_told_in_words(http):
    assert "1000 seeds" in only_error(http, seeds=1001)["message"]
    assert only_error(http, seeds=list(range(1001)))["message"] == "At most 1000 are taken here."
    assert only_error(http, search=searched({"choices": [1]}))["message"] == "At least 2 are needed here."
    assert only_error(http, baseline={})["allowed"] == "object, at least 1 fields, at most 16 fields"
    assert (
        only_error(http, seeds=1000, axes={"optimizer.lr": [0.01 * n for n in range(1, 12)]})["pointer"]
        == "/seeds"
    )


def test_a_choice_of_a_search_is_not_to_be_excluded(http):
    groups = {"name": "optuna", "trials": 2, "space": {"norm.groups": {"choices": [2, 3]}}}
    error = only_error(http, axes={"norm": ["group"]}, search=groups)
    assert error["pointer"] == "/search/space/norm.groups/choices/1"
    assert "exclude" not in error["message"]
    error = only_error(http, axes={"norm": ["batch", {"name": "group", "groups": 3}]})
    assert error["message"].endswith("Or exclude the combination.")


def test_too_many_cells_are_refused_with_their_number(http):
    rates = [0.0001 * number for number in range(1, 10_002)]
    found = problem(post(http, expect=422, axes={"optimizer.lr": rates}, seeds=1), 422)
    assert found["errors"][0]["code"] == "too_many_cells"
    assert "10001" in found["detail"]


def test_a_name_of_another_base_is_a_conflict(http):
    post(http)
    found = problem(post(http, expect=409, base={**BASE, "steps": 7}), 409)
    assert found["code"] == "name_taken"


def test_a_preset_needs_nothing_else(http):
    made = post(http, name=None, base={}, axes={}, seeds=[0], preset="placement", scale="smoke").json()
    assert made["name"] == "placement (smoke)"
    assert made["progress"]["total"] >= 3
    assert made["declaration"]["axes"] or made["declaration"]["arms"]


def test_cells_are_listed_with_their_jobs(http):
    id = post(http, max_parallel=3).json()["id"]
    page = http.get(f"/v1/experiments/{id}/cells", params={"limit": 5}).json()
    assert page["metric"] == "test/accuracy"
    assert [cell["status"] for cell in page["data"]] == ["queued"] * 3 + ["waiting"] * 2
    rest = http.get(f"/v1/experiments/{id}/cells", params={"cursor": page["next_cursor"]}).json()
    assert [cell["number"] for cell in rest["data"]] == [5, 6, 7]
    first = page["data"][0]
    job = http.get(f"/v1/jobs/{first['job']}").json()
    assert job["spec_hash"] == first["cell_id"]
    told = {"kind": "cell", "experiment": id, "cell_id": first["cell_id"], "arm": first["arm_name"]}
    assert job["origin"] == told
    assert first["coordinates"] == {"norm": "none", "optimizer.lr": 0.1}
    waiting = http.get(f"/v1/experiments/{id}/cells", params={"status": "waiting", "arm": 1}).json()["data"]
    assert [(cell["arm"], cell["seed"], cell["job"]) for cell in waiting] == [(1, 1, None)]
    assert problem(http.get(f"/v1/experiments/{id}/cells", params={"arm": 4}), 404)["code"] == "not_found"
    problem(http.get(f"/v1/experiments/{id}/cells", params={"cursor": "x"}), 422)
    problem(http.get(f"/v1/experiments/{id}/cells", params={"status": "lost"}), 422)


def test_a_cell_says_why_its_run_failed(http, database):
    id = post(http).json()["id"]
    url = f"/v1/experiments/{id}/cells"
    hold = claim(database, http.get(url).json()["data"][0]["job"])
    begin(database, hold)
    end(database, hold, fail)
    told = [(cell["status"], cell["failure"], cell["reason"]) for cell in http.get(url).json()["data"]]
    assert told == [("failed", "diverged", "diverged")] + [("queued", None, None)] * 7
    answer = http.post(f"/v1/experiments/{id}/retry-failed")
    assert (answer.status_code, answer.json()["retried"]) == (200, 0)
    http.post(f"/v1/experiments/{id}/cancel")
    answer = http.post(f"/v1/experiments/{id}/retry-failed")
    assert (answer.status_code, answer.json()["retried"]) == (202, 7)


def test_what_a_post_leaves_out_stays_and_null_takes_it_away(http):
    told = {"baseline": {"norm": "none"}, "target": {"metric": "test/accuracy", "value": 0.9}}
    post(http, **told)
    again = post(http, expect=200, seeds=1).json()
    assert {field: again["declaration"][field] for field in told} == told
    assert again["declaration"]["seeds"] == [0, 1]
    assert again["counts"]["declared"] == again["progress"]["total"] == 8
    assert post(http, expect=200, target=None).json()["declaration"]["target"] is None


def test_presets_say_at_which_scale_what_is_expected_was_measured(http):
    found = http.get("/v1/catalog/presets").json()["data"]
    assert {each["expected_scale"] for each in found} == {"quick"}
    assert {scale for each in found for scale in each["scales"]} == {"smoke", "quick", "full"}


def test_commands_are_carried_out_and_may_be_repeated(http, database):
    id = post(http).json()["id"]
    commands = [("pause", 202, "paused"), ("pause", 200, "paused"), ("resume", 202, "running")]
    commands += [("resume", 200, "running"), ("cancel", 202, "cancelled"), ("cancel", 200, "cancelled")]
    commands += [("retry-failed", 202, "running"), ("retry-failed", 200, "running")]
    for command, expected, status in commands:
        answer = http.post(f"/v1/experiments/{id}/{command}")
        assert (command, answer.status_code, answer.json()["status"]) == (command, expected, status)
    assert jobs_of(database) == 8
    http.post(f"/v1/experiments/{id}/cancel")
    found = problem(http.post(f"/v1/experiments/{id}/resume"), 409)
    assert found["allowed"] == ["paused", "pausing"]


def test_the_report_comes_in_three_formats(http, database):
    id = post(http, baseline={"norm": "none"}, seeds=1).json()["id"]
    url = f"/v1/experiments/{id}/report"
    with database.read() as session:
        jobs = list(session.scalars(sa.select(Cell.job_id).where(Cell.experiment_id == id).order_by(Cell.number)))
    hold = claim(database, jobs[0])
    begin(database, hold)
    end(database, hold)
    made = http.get(url).json()
    assert [arm["is_baseline"] for arm in made["arms"]] == [True, True, False, False]
    assert made["arms"][0]["cells"] == {"succeeded": 1}
    assert made["progress"]["cells"] == {"succeeded": 1, "queued": 3}
    rows = list(csv.DictReader(io.StringIO(http.get(url, headers={"Accept": "text/csv"}).text)))
    assert [row["name"] for row in rows] == [arm["name"] for arm in made["arms"]]
    page = http.get(url, params={"format": "html"})
    assert page.headers["content-type"].startswith("text/html")
    assert "norm batch, lr 0.3" in page.text
    browser = http.get(url, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert browser.headers["content-type"] == page.headers["content-type"]
    assert http.get(url, headers={"If-None-Match": http.get(url).headers["ETag"]}).status_code == 304
    problem(http.get(url, params={"format": "pdf"}), 422)


@pytest.mark.parametrize("path", ["", "/cells", "/report"])
def test_there_is_no_such_experiment(http, path):
    for id in ("exp_" + "0" * 32, "nothing", "job_" + "0" * 32):
        assert problem(http.get(f"/v1/experiments/{id}{path}"), 404)["code"] == "not_found"
    for command in ("pause", "resume", "cancel", "retry-failed"):
        problem(http.post(f"/v1/experiments/exp_{'0' * 32}/{command}"), 404)


def test_experiments_are_listed_the_newest_first(http):
    ids = [post(http, name=f"sweep {number}", seeds=1).json()["id"] for number in range(3)]
    page = http.get("/v1/experiments", params={"limit": 2}).json()
    assert [each["id"] for each in page["data"]] == ids[:0:-1]
    rest = http.get("/v1/experiments", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [each["id"] for each in rest["data"]] == ids[:1]
    problem(http.get("/v1/experiments", params={"cursor": "x"}), 422)
