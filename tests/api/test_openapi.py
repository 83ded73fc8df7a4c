"""What the OpenAPI document says of answers."""

import httpx2
import pytest

DESCRIBED = [
    "JobOut", "PlaceOut", "Progress", "Point", "FailureOut", "DatasetRef", "JobPage", "QueuedJobOut", "QueuePage",
    "WorkerOut", "WorkerList", "LogLineOut", "LogPageOut", "EventOut", "EventPage", "AttemptOut", "AttemptList",
    "CheckpointOut", "CheckpointList", "ArtifactOut", "ArtifactFailure", "ArtifactList", "Problem", "FieldError",
]  # fmt: skip


@pytest.fixture(scope="module")
def schemas(server):
    return httpx2.get(f"{server}/openapi.json").json()["components"]["schemas"]


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
