"""Answers that say whether they are new."""

import pytest

from tests.api.support import add_line
from tests.api.test_bad_input import SPEC


@pytest.fixture
def job(http):
    return http.post("/v1/jobs", json=SPEC).json()["id"]


@pytest.mark.parametrize(
    "path", ["/v1/jobs/{}", "/v1/jobs/{}/events", "/v1/jobs/{}/metrics", "/v1/jobs?limit=1", "/v1/catalog/norms"]
)
def test_what_the_client_has_is_not_sent_again(http, job, path):
    first = http.get(path.format(job))
    assert first.status_code == 200
    again = http.get(path.format(job), headers={"If-None-Match": f'"other", W/{first.headers["ETag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "content-type" not in again.headers
    assert "X-Request-Id" in again.headers


def test_another_content_has_another_tag_and_is_sent(http, database, job):
    path = f"/v1/jobs/{job}/events"
    first = http.get(path)
    add_line(database, job)
    second = http.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert second.status_code == 200
    assert second.headers["ETag"] != first.headers["ETag"]
    assert len(second.json()["data"]) == len(first.json()["data"]) + 1


def test_only_what_is_read_and_found_has_a_tag(http):
    assert "ETag" not in http.get("/v1/jobs/job_none").headers
    made = http.post("/v1/jobs", json=SPEC, headers={"If-None-Match": "*"})
    assert made.status_code == 201
    assert "ETag" not in made.headers


def test_a_long_poll_of_an_unchanged_job_is_304(http, job):
    tag = http.get(f"/v1/jobs/{job}").headers["ETag"]
    answer = http.get(f"/v1/jobs/{job}", params={"wait": 1}, headers={"If-None-Match": tag})
    assert answer.status_code == 304
