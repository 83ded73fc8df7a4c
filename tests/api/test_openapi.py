"""What the OpenAPI document says of answers."""

import httpx2
import pytest

DESCRIBED = [
    "JobOut", "PlaceOut", "Progress", "Point", "FailureOut", "DatasetRef", "JobPage", "QueuedJobOut", "QueuePage",
    "WorkerOut", "WorkerList", "LogLineOut", "LogPageOut", "EventOut", "EventPage", "AttemptOut", "AttemptList",
    "CheckpointOut", "CheckpointList", "ArtifactOut", "ArtifactFailure", "ArtifactList", "Problem", "FieldError",
]  # fmt: skip


@pytest.fixture(scope="module")
def document(server):
    return httpx2.get(f"{server}/openapi.json").json()


@pytest.fixture(scope="module")
def schemas(document):
    return document["components"]["schemas"]


@pytest.fixture(scope="module")
def operations(document):
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


@pytest.mark.parametrize("name", [*DESCRIBED, "Checkpoint"])
def test_every_property_is_described(schemas, name):
    # The spec's parts may have several schemas, one for input and one for output.
    found = [schema for key, schema in schemas.items() if key.partition("-")[0] == name]
    assert found
    bare = [
        field
        for schema in found
        for field, value in schema["properties"].items()
        if not value.get("description", "").strip()
    ]
    assert bare == []


def test_the_types_of_events_are_listed(schemas):
    assert "checkpoint_damaged" in schemas["EventType"]["enum"]


def test_errors_are_problem_documents(operations):
    for name, operation in operations.items():
        assert list(operation["responses"]["4XX"]["content"]) == ["application/problem+json"], name
    assert "Problem" in str(operations["GET /v1/jobs"]["responses"]["4XX"])


def test_what_is_read_as_json_has_an_etag_and_may_be_304(operations):
    has_tag = {name for name, operation in operations.items() if "304" in operation["responses"]}
    assert {"GET /v1/jobs", "GET /v1/jobs/{job_id}/metrics", "GET /v1/catalog/norms"} <= has_tag
    assert not {"GET /v1/jobs/{job_id}/model", "GET /v1/jobs/{job_id}/events/stream", "GET /healthz"} & has_tag
    assert all(name.startswith("GET ") for name in has_tag)
    assert all(
        "ETag" in operations[name]["responses"][code]["headers"] for name in has_tag for code in ("200", "304")
    )


def test_what_is_made_once_has_a_place(operations):
    posts = [("/v1/jobs", "201"), ("/v1/jobs/{job_id}/fork", "201"), ("/v1/jobs/{job_id}/recalibrate", "202")]
    for path, code in posts:
        answer = operations[f"POST {path}"]["responses"][code]
        assert {"Location", "Idempotent-Replayed"} <= set(answer["headers"])
    assert "headers" not in operations["POST /v1/jobs/{job_id}/cancel"]["responses"]["202"]


def test_the_document_is_the_same_when_it_is_read_again(server, document):
    assert httpx2.get(f"{server}/openapi.json").json() == document
