"""Lists of jobs as clients ask for them, and what is no question."""

from uuid import uuid4

import pytest

from tests.api.jobs import post
from tests.api.test_bad_input import problem
from tests.db.support import change_job


def ids(http, **params) -> list[str]:
    """Of all pages, two jobs each."""
    found, cursor = [], {}
    while cursor is not None:
        answer = http.get("/v1/jobs", params={"limit": 2, **params, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [job["id"] for job in page["data"]]
        assert len(found) == len({*found}), "a job comes twice"
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
    return found


@pytest.fixture
def mine():
    """A label that no other test's jobs have."""
    return {"test": uuid4().hex}


@pytest.fixture
def jobs(http, database, mine):
    """Five jobs from the oldest on, with accuracies."""
    made = []
    for number, accuracy in enumerate([0.9, 0.5, "NaN", None, 0.95]):
        made.append(post(http, labels=mine | {"run": str(number)}))
        if accuracy is not None:
            points = {"test/accuracy": {"value": accuracy, "step": 5}}
            change_job(database, made[-1], latest=points, best={"test/accuracy": {"value": 0.99, "step": 3}})
    return made


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"order": "-created_at"}, [4, 3, 2, 1, 0]),
        ({"order": "created_at"}, [0, 1, 2, 3, 4]),
        ({"order": "-test/accuracy"}, [4, 0, 1, 3, 2]),
        ({"order": "test/accuracy"}, [1, 0, 4, 3, 2]),
        ({"order": "best:test/accuracy"}, [4, 2, 1, 0, 3]),
        ({"metric": "test/accuracy>=0.9"}, [4, 0]),
        ({"metric": "test/accuracy>9e-1"}, [4]),
        ({"metric": "test/accuracy>=0.9,test/accuracy<0.95"}, [0]),
        ({"metric": "best:test/accuracy>.98"}, [4, 2, 1, 0]),
        ({"metric": "test/accuracy<-1"}, []),
        ({"dataset": "digits", "order": "created_at"}, [0, 1, 2, 3, 4]),
        ({"dataset": "mnist"}, []),
    ],
    ids=str,
)
def test_jobs_are_found_and_ordered_by_what_they_are_and_have_reached(http, mine, jobs, query, wanted):
    assert ids(http, label=f"test={mine['test']}", **query) == [jobs[number] for number in wanted]


def test_all_labels_must_fit(http, mine, jobs):
    assert ids(http, label=f"test={mine['test']},run=3") == [jobs[3]]
    assert ids(http, label=f"test={mine['test']},run=5") == []


def test_labels_are_found_as_they_are_after_a_change(http, mine, jobs):
    http.patch(f"/v1/jobs/{jobs[0]}", json={"labels": mine | {"run": "a=b"}})
    assert ids(http, label=f"test={mine['test']},run=a=b") == [jobs[0]]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"label": ""}, "?label"),
        ({"label": "team"}, "?label"),
        ({"label": "=a"}, "?label"),
        ({"label": "a=1,"}, "?label"),
        ({"label": "a=\x00"}, "?label"),
        ({"label": ",".join(["a=1"] * 17)}, "?label"),
        ({"label": "a" * 5000 + "=b"}, "?label"),
        ({"metric": ""}, "?metric"),
        ({"metric": "test/accuracy"}, "?metric"),
        ({"metric": "test/accuracy=0.9"}, "?metric"),
        ({"metric": "test/accuracy>=high"}, "?metric"),
        ({"metric": "test/accuracy>=nan"}, "?metric"),
        ({"metric": "test/accuracy>=inf"}, "?metric"),
        ({"metric": "test/accuracy>=1e999"}, "?metric"),
        ({"metric": "test/accuracy>=" + "9" * 400}, "?metric"),
        ({"metric": "test/accuracy>=\u0661"}, "?metric"),
        ({"metric": ">=0.9"}, "?metric"),
        ({"metric": "best:>=0.9"}, "?metric"),
        ({"metric": "a\x00>=0.9"}, "?metric"),
        ({"metric": ",".join(["a>1"] * 17)}, "?metric"),
        ({"metric": "a" * 2000 + ">1"}, "?metric"),
        ({"order": ""}, "?order"),
        ({"order": "-"}, "?order"),
        ({"order": "best:"}, "?order"),
        ({"order": "\x00"}, "?order"),
        ({"order": "a" * 1000}, "?order"),
        ({"dataset": "mnst"}, "?dataset"),
        ({"cursor": "nonsense"}, "?cursor"),
        ({"cursor": "nonsense", "order": "created_at"}, "?cursor"),
        ({"cursor": "nonsense", "order": "test/loss"}, "?cursor"),
        ({"cursor": "job_" + "0" * 32, "order": "test/loss"}, "?cursor"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_question_is_named(http, query, pointer):
    document = problem(http.get("/v1/jobs", params=query), 422)
    assert [error["pointer"] for error in document["errors"]] == [pointer]


@pytest.mark.parametrize(
    "name", ['a"b', "a'b", "$.a", "[0]", "%s", "\U0001f600", " ", "'); DROP TABLE jobs; --", "\n", "x" * 400]
)
def test_any_name_may_be_asked_for(http, jobs, name):
    assert ids(http, metric=f"{name}>0", label=f"{name}=1") == []
    assert set(jobs) <= set(ids(http, order=f"-{name}", limit=100))


def test_a_cursor_of_another_order_is_refused(http, mine, jobs):
    query = {"label": f"test={mine['test']}", "limit": 2}
    cursor = http.get("/v1/jobs", params=query | {"order": "test/accuracy"}).json()["next_cursor"]
    for order in ("-test/accuracy", "best:test/accuracy", "created_at"):
        problem(http.get("/v1/jobs", params=query | {"order": order, "cursor": cursor}), 422)


@pytest.mark.parametrize("experiment", ["exp_" + "0" * 32, "exp_1", "\x00"])
def test_an_experiment_that_is_not_there_is_404(http, experiment):
    assert problem(http.get("/v1/jobs", params={"experiment": experiment}), 404)["code"] == "not_found"
