"""Bad input: a problem document that names the field and what is allowed, and nothing is stored."""

import json

import pytest

SPEC = {
    "dataset": {"name": "digits"},
    "architecture": {"name": "mlp", "hidden": [10, 10]},
    "batch_size": 60,
    "steps": 10,
}
PROBLEM_KEYS = {"type", "title", "status", "code", "detail", "instance", "request_id"}


def post(http, body: bytes | str, content_type: str = "application/json"):
    return http.post("/v1/jobs", content=body, headers={"Content-Type": content_type})


def count_jobs(http) -> int:
    return len(http.get("/v1/jobs", params={"limit": 100}).json()["data"])


def problem(answer, status: int):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert set(document) >= PROBLEM_KEYS
    assert document["status"] == status
    assert document["request_id"] == answer.headers["X-Request-Id"]
    return document


def changed(**changes):
    return {key: value for key, value in {**SPEC, **changes}.items() if value is not ...}


@pytest.mark.parametrize(
    ("spec", "pointer", "allowed", "suggestion"),
    [
        (changed(optimzer={}), "/optimzer", "optimizer", "optimizer"),
        (changed(norm={"name": "batch", "mometum": 0.1}), "/norm/mometum", "momentum", "momentum"),
        (changed(norm={"name": "bacth"}), "/norm/name", "batch", "batch"),
        (changed(norm={}), "/norm/name", "batch", None),
        (changed(norm="batch"), "/norm", "batch", '{"name": "batch"}'),
        (changed(dataset={"name": "mnst"}), "/dataset/name", "mnist", "mnist"),
        (changed(architecture={"name": "mpl", "hidden": [1]}), "/architecture/name", "mlp", "mlp"),
        (
            changed(architecture={"name": "mlp", "hidden": [1], "activation": "Relu"}),
            "/architecture/activation",
            "relu",
            "relu",
        ),
        (changed(architecture={"name": "mlp", "hidden": [1, "a"]}), "/architecture/hidden/1", "integer", None),
        (changed(architecture={"name": "mlp"}), "/architecture/hidden", "array", None),
        (
            changed(architecture={"name": "mlp", "hidden": [1], "init": {"name": "normal", "std": 0}}),
            "/architecture/init/std",
            "more than 0",
            None,
        ),
        (changed(optimizer={"name": "adamw"}), "/optimizer/name", "AdamW", "AdamW"),
        (changed(optimizer={"name": "SGD", "lr": "0.1"}), "/optimizer/lr", "number", None),
        (changed(batch_size="60"), "/batch_size", "integer", None),
        (changed(batch_size=60.5), "/batch_size", "integer", None),
        (changed(batch_size=1438), "/batch_size", "1 to 1437", None),
        (changed(batch_size=100, dataset={"name": "digits", "train_limit": 99}), "/batch_size", "1 to 99", None),
        (changed(batch_size=1, norm={"name": "batch"}), "/batch_size", "2 to 1437", None),
        (changed(epochs=3), "/steps", "epochs", None),
        (changed(steps=...), "/steps", "epochs", None),
        (changed(steps=0), "/steps", "at least 1", None),
        (changed(steps=2**60), "/steps", "at most", None),
        (changed(statistics={"units": {"norm3": [1]}}), "/statistics/units/norm3", "norm2", "norm"),
        (changed(statistics={"units": {"norm2": [10]}}), "/statistics/units/norm2", "0 to 9", None),
        (changed(evaluate={"modes": ["evl"]}), "/evaluate/modes/0", "eval", "eval"),
        (
            changed(early_stopping={"metric": "test/acuracy"}),
            "/early_stopping/metric",
            "gap/eval_mode/loss",
            "test/accuracy",
        ),
        (
            changed(early_stopping={"patience": None}),
            "/early_stopping/patience",
            "target",
            None,
        ),
        (
            changed(dataset={"name": "digits", "validation_fraction": 1}),
            "/dataset/validation_fraction",
            "less than 1",
            None,
        ),
        (
            changed(dataset={"name": "digits", "validation_fraction": 0.001}),
            "/dataset/validation_fraction",
            "2 to 1435 of 1437",
            None,
        ),
        (changed(labels={"a b": "c"}), "/labels/a b", "text that matches", None),
        (changed(batch_size=...), "/batch_size", "integer", None),
    ],
)
def test_a_wrong_field_is_named_with_what_is_allowed(http, spec, pointer, allowed, suggestion):
    before = count_jobs(http)
    document = problem(http.post("/v1/jobs", json=spec), 422)
    assert document["code"] == "invalid_spec"
    found = {error["pointer"]: error for error in document["errors"]}
    assert pointer in found, document
    assert allowed in found[pointer]["allowed"], document
    if suggestion is not None:
        assert suggestion in found[pointer]["suggestion"], document
    assert count_jobs(http) == before


def test_every_wrong_field_is_named_at_once(http):
    document = problem(http.post("/v1/jobs", json=changed(batch_size="x", seed=-1, nmae="y")), 422)
    assert {error["pointer"] for error in document["errors"]} == {"/batch_size", "/seed", "/nmae"}


def test_thousands_of_wrong_fields_get_a_short_answer(http):
    answer = http.post("/v1/jobs", json=changed(**{f"key{number}": 1 for number in range(20_000)}))
    assert len(problem(answer, 422)["errors"]) == 50
    assert len(answer.content) < 100_000


def test_a_key_that_stands_twice_is_found_among_many(http):
    keys = ",".join(f'"key{number}": 1' for number in range(60_000))
    document = problem(post(http, f'{{{keys}, "twice": 1, "twice": 2}}'), 422)
    assert (document["code"], "'twice'" in document["detail"]) == ("duplicate_key", True)


@pytest.mark.parametrize(
    ("number", "pointer"), [("NaN", "/batch_size"), ("Infinity", "/batch_size"), ("-Infinity", "/batch_size")]
)
def test_numbers_that_are_not_finite_are_refused_where_they_stand(http, number, pointer):
    document = problem(post(http, json.dumps(SPEC).replace("60", number)), 422)
    assert [error["pointer"] for error in document["errors"]] == [pointer]
    assert document["code"] == "not_finite"


def test_a_number_too_large_for_a_float_is_refused_where_it_stands(http):
    body = json.dumps(changed(optimizer={"name": "SGD", "lr": 7})).replace("7}", "1e400}")
    assert problem(post(http, body), 422)["errors"][0]["pointer"] == "/optimizer/lr"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"batch_size":', 400, "malformed_json"),
        (b"\xff\xfe{}", 400, "malformed_json"),
        (b"{'a': 1}", 400, "malformed_json"),
        (b'{"seed": ' + b"9" * 10_000 + b"}", 400, "malformed_json"),
        (b'{"seed": ' + b"9" * 30 + b"}", 422, "too_large"),
        (b'{"seed": 1, "seed": 2}', 422, "duplicate_key"),
        (b"[" * 100_000, 422, "too_deep"),
        (b'{"labels": ' + b"[" * 40 + b"]" * 40 + b"}", 422, "too_deep"),
        (b'{"labels": ' + b"[" * 32 + b"1" + b"]" * 32 + b"}", 422, "too_deep"),
        (b'{"labels": ' + b"[" * 31 + b"1" + b"]" * 31 + b"}", 422, "invalid_spec"),
        (b'{"labels": [1, NaN]}', 422, "not_finite"),
        (b'{"labels": [NaN, ' + b"9" * 400 + b"]}", 422, "not_finite"),
        (b'{"labels": [1.0, ' + b"9" * 400 + b"]}", 422, "too_large"),
        (b'{"labels": [9223372036854775808]}', 422, "too_large"),
        (b'{"labels": [9223372036854775807]}', 422, "invalid_spec"),
        (b'{"name": "\\ud800"}', 422, "invalid_text"),
        (b'{"name": "a\\u0000"}', 422, "invalid_text"),
        (b'{"labels": {"a\\u0000": "b"}}', 422, "invalid_text"),
        (b"[]", 422, "invalid_spec"),
        (b'"text"', 422, "invalid_spec"),
        (b"null", 422, "invalid_spec"),
        (b"", 422, "invalid_spec"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(http, body, status, code):
    before = count_jobs(http)
    assert problem(post(http, body), status)["code"] == code
    assert count_jobs(http) == before


def test_a_body_that_is_not_declared_as_json_is_refused(http):
    for content_type in ("text/plain", "application/x-www-form-urlencoded"):
        document = problem(post(http, json.dumps(SPEC), content_type), 415)
        assert "Content-Type: application/json" in document["detail"]


def test_a_body_of_100_megabytes_is_refused_with_and_without_a_length(http):
    piece = b" " * (1 << 20)
    assert "1048576 bytes" in problem(post(http, piece * 100), 413)["detail"]
    assert problem(post(http, (piece for _ in range(100))), 413)["code"] == "body_too_large"
    assert http.get("/healthz").status_code == 200


def test_what_was_sent_is_not_sent_back(http):
    secret = "s3cret-value"
    for spec in (changed(batch_size=secret), changed(norm={"name": secret}), changed(labels={"a": [secret]})):
        assert secret not in http.post("/v1/jobs", json=spec).text


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/{}",
        "/v1/jobs/{}/metrics",
        "/v1/jobs/{}/statistics",
        "/v1/jobs/{}/events",
        "/v1/jobs/{}/checkpoints",
        "/v1/jobs/{}/artifacts",
        "/v1/jobs/{}/model",
        "/v1/artifacts/{}",
        "/v1/artifacts/{}/content",
    ],
)
@pytest.mark.parametrize("id", ["job_0", "%00", "..%2f..%2fetc%2fpasswd", "a" * 5000, "job_" + "0" * 32, "'; --"])
def test_an_unknown_id_is_404(http, path, id):
    document = problem(http.get(path.format(id)), 404)
    assert len(document["detail"]) < 6000
    if path == "/v1/jobs/{}":
        problem(http.post(f"/v1/jobs/{id}/cancel"), 404)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limt=3", "?limt"),
        ("limit=0", "?limit"),
        ("limit=101", "?limit"),
        ("limit=x", "?limit"),
        ("status=runing", "?status"),
        ("norm=btch", "?norm"),
        ("cursor=abc", "?cursor"),
        ("cursor=job_%00", "?cursor"),
    ],
)
def test_a_wrong_query_parameter_of_the_list_is_named(http, query, pointer):
    document = problem(http.get(f"/v1/jobs?{query}"), 422)
    assert [error["pointer"] for error in document["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("metrics?after=%21%21", "?after"),
        ("metrics?after=WzEsezF9XQ", "?after"),
        ("metrics?max_points=0", "?max_points"),
        ("metrics?max_points=10001", "?max_points"),
        ("metrics?from_step=-1", "?from_step"),
        ("metrics?to_step=99999999999999999999999", "?to_step"),
        ("metrics?name=train/loss", "?name"),
        ("statistics?site=norm9", "?site"),
        ("statistics?channels=10", "?channels"),
        ("statistics?channels=1;2", "?channels"),
        ("statistics?channels=" + "9" * 5000, "?channels"),
        ("statistics?mode=test", "?mode"),
        ("events?after=-1", "?after"),
        ("model?format=onxn", "?format"),
        ("checkpoints?limit=3", "?limit"),
    ],
)
def test_a_wrong_query_parameter_of_a_job_is_named(http, path, pointer):
    job_id = http.post("/v1/jobs", json=SPEC).json()["id"]
    document = problem(http.get(f"/v1/jobs/{job_id}/{path}"), 422)
    assert [error["pointer"] for error in document["errors"]] == [pointer]


def test_unknown_addresses_and_methods_are_problems_too(http):
    assert problem(http.get("/v1/nothing"), 404)["code"] == "not_found"
    assert problem(http.delete("/v1/jobs"), 405)["code"] == "method_not_allowed"


def test_wrong_items_do_not_make_their_list_too_short(http):
    architecture = {"name": "mlp", "hidden": [70_000, 0]}
    errors = http.post("/v1/jobs", json={**SPEC, "architecture": architecture}).json()["errors"]
    assert [error["pointer"] for error in errors] == ["/architecture/hidden/0", "/architecture/hidden/1"]
    (error,) = http.post("/v1/jobs", json={**SPEC, "architecture": architecture | {"hidden": []}}).json()["errors"]
    assert (error["pointer"], error["code"]) == ("/architecture/hidden", "too_short")
