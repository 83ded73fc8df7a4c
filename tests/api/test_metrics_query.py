"""Metric series of many jobs at once."""

import httpx2
import pytest

from db import lease
from db.chunks import METRICS, ChunkWriter
from db.metrics import PAGE_STEPS, STEPS_OF_ALL
from tests.api.jobs import claim, post
from tests.api.test_bad_input import problem
from tests.db.streams import rows_of, write

ABSENT = "job_" + "0" * 32


def record(http, database, rows: int, **options):
    """A job with so many recorded steps, with numbers of its own."""
    job_id = post(http)
    hold = claim(database, job_id)
    with database.write() as session:
        lease.start_from(session, hold, 0, 0)
    if rows:
        write(database, ChunkWriter(hold, METRICS, "train", 1024), [rows_of(rows, **options)])
    return hold


@pytest.fixture(scope="module")
def jobs(server, database):
    """Ids of jobs with 0, 100 and 1,500 steps; some numbers of the second are not finite."""
    with httpx2.Client(base_url=server) as http:
        holds = [record(http, database, rows, seed=rows, wild=rows == 100) for rows in (0, 100, 1500)]
    return [hold.job_id for hold in holds]


def query(http, jobs, **more):
    answer = http.post("/v1/metrics/query", json={"jobs": jobs, **more})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()["data"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"names": "train/loss"},
        {"names": "train/loss,nothing"},
        {"from_step": 50, "to_step": 90},
        {"max_points": 10},
        {"max_points": 200, "names": "train/accuracy"},
    ],
    ids=str,
)
def test_each_job_has_what_it_has_when_asked_for_alone(http, jobs, options):
    order = [jobs[2], jobs[0], jobs[1]]
    body = {name: value.split(",") if name == "names" else value for name, value in options.items()}
    alone = [{"job": job, **http.get(f"/v1/jobs/{job}/metrics", params=options).json()} for job in order]
    assert query(http, order, **body) == alone
    assert any(entry["series"] for entry in alone)


def test_numbers_that_are_not_finite_are_words(http, jobs):
    (entry,) = query(http, [jobs[1]])
    words = {value for value in entry["series"]["train/loss"]["value"] if isinstance(value, str)}
    assert words == {"NaN"}


def test_each_job_is_read_on_from_its_own_cursor(http, database):
    first, second = record(http, database, 20), record(http, database, 30)
    ids = [first.job_id, second.job_id]
    cursors = {entry["job"]: entry["cursor"] for entry in query(http, ids, to_step=10)}
    again = query(http, ids, after={second.job_id: cursors[second.job_id]})
    assert [entry["series"]["train/loss"]["step"][0] for entry in again] == [1, 11]
    with database.write() as session:
        lease.release(session, second)
    later = claim(database, second.job_id)
    with database.write() as session:
        lease.start_from(session, later, 5, 0)
    rewound = query(http, ids, after=cursors)
    assert [entry.get("rewound_to") for entry in rewound] == [None, 5]
    assert rewound[1]["series"] == {}
    assert later.attempt == 2


def test_many_jobs_share_the_room_of_one_answer(http, database):
    long = record(http, database, 1200).job_id
    others = [post(http) for _ in range(99)]
    (alone,) = query(http, [long])
    assert (len(alone["series"]["train/loss"]["step"]), alone["more"]) == (1200, False)
    first = query(http, [*others, long])[-1]
    room = STEPS_OF_ALL // 100
    assert (first["series"]["train/loss"]["step"], first["more"]) == ([*range(1, room + 1)], True)
    rest = query(http, [*others, long], after={long: first["cursor"]})[-1]
    assert (rest["series"]["train/loss"]["step"], rest["more"]) == ([*range(room + 1, 1201)], False)
    coarse = query(http, [*others, long], max_points=PAGE_STEPS)[-1]
    assert (coarse["downsampled"], len(coarse["series"]["train/loss"]["step"]) <= room) == (True, True)


def test_jobs_that_are_not_there_are_named_where_they_stand(http, jobs):
    body = {"jobs": [jobs[0], ABSENT, jobs[1], "job_1", "", "\U0001f600"]}
    document = problem(http.post("/v1/metrics/query", json=body), 404)
    assert document["code"] == "not_found"
    assert [error["pointer"] for error in document["errors"]] == ["/jobs/1", "/jobs/3", "/jobs/4", "/jobs/5"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"jobs": []}, "/jobs"),
        ({"jobs": ...}, "/jobs"),
        ({"jobs": "job_1"}, "/jobs"),
        ({"jobs": [1]}, "/jobs/0"),
        ({"jobs": [f"job_{number:032x}" for number in range(101)]}, "/jobs"),
        ({"jobs": ["a", "b", "a"]}, "/jobs/2"),
        ({"jobs": ["a" * 1000]}, "/jobs/0"),
        ({"names": "train/loss"}, "/names"),
        ({"names": [None]}, "/names/0"),
        ({"from_step": -1}, "/from_step"),
        ({"from_step": 1.0}, "/from_step"),
        ({"to_step": 2**62 + 1}, "/to_step"),
        ({"max_points": 0}, "/max_points"),
        ({"max_points": True}, "/max_points"),
        ({"after": []}, "/after"),
        ({"after": {ABSENT: "x"}}, f"/after/{ABSENT}"),
        ({"after": {"a/b": "x"}}, "/after/a~1b"),
        ({"name": ["a"]}, "/name"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_field_is_named(http, jobs, change, pointer):
    body = {key: value for key, value in ({"jobs": jobs} | change).items() if value is not ...}
    document = problem(http.post("/v1/metrics/query", json=body), 422)
    assert [error["pointer"] for error in document["errors"]] == [pointer]


@pytest.mark.parametrize("cursor", ["", "nonsense", "W10", "bnVsbA"])
def test_a_cursor_that_no_answer_gave_is_named(http, jobs, cursor):
    body = {"jobs": jobs, "after": {jobs[1]: cursor}}
    document = problem(http.post("/v1/metrics/query", json=body), 422)
    assert [error["pointer"] for error in document["errors"]] == [f"/after/{jobs[1]}"]
    assert document["code"] == "invalid_cursor"


def test_the_query_of_the_address_is_refused(http, jobs):
    assert problem(http.post("/v1/metrics/query?max_points=1", json={"jobs": jobs}), 422)
