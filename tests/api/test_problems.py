"""What problem documents call what is wrong."""

import pytest

from tests.api.test_bad_input import changed, problem


@pytest.mark.parametrize("which", ["x", "", "-1", "1.0", "01", "Last", "9" * 30, "last\n", "\x00"])
def test_a_checkpoint_that_is_none_is_refused_in_words(http, which):
    document = problem(http.get("/v1/jobs/job_none/model", params={"checkpoint": which}), 422)
    (error,) = document["errors"]
    assert (document["code"], error["pointer"]) == ("invalid_query", "?checkpoint")
    assert error["message"] == "A checkpoint is last, best, or the number of a step."
    assert error["allowed"] == ["last", "best", "a step"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/v1/jobs/job_none", {"nmae": "a"}),
        ("PATCH", "/v1/jobs/job_none", {}),
        ("POST", "/v1/jobs/job_none/fork", {"checkpoint": []}),
        ("POST", "/v1/jobs/job_none/recalibrate", {"samples": 0}),
        ("POST", "/v1/metrics/query", {"jobs": []}),
    ],
)
def test_a_wrong_body_that_is_no_spec_is_not_called_one(http, method, path, body):
    assert problem(http.request(method, path, json=body), 422)["code"] == "invalid_body"


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/plan"])
def test_a_wrong_spec_is_called_one(http, path):
    assert problem(http.post(path, json=changed(steps="a")), 422)["code"] == "invalid_spec"
