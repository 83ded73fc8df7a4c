"""What FastAPI does not see of the answers, added to the OpenAPI document: media types, headers, 304."""

from typing import Any

from fastapi import FastAPI

from api import idempotency, problems

Document = dict[str, Any]

JSON = "application/json"
ETAG: Document = {
    "ETag": {"description": "For `If-None-Match`; changes with the answer.", "schema": {"type": "string"}}
}
CREATED: Document = {
    "Location": {"description": "The path of what was made.", "schema": {"type": "string"}},
    idempotency.REPLAYED: {
        "description": "With the answer that an earlier request with this key was given; left out otherwise.",
        "schema": {"type": "string", "const": "true"},
    },
}


def install(app: FastAPI) -> None:
    """Have the application describe its answers whole."""
    generate = app.openapi

    def describe() -> Document:
        if app.openapi_schema is None:
            _complete(generate())
        return app.openapi_schema or {}

    app.openapi = describe  # type: ignore[method-assign]  # as FastAPI's documentation extends the document


def _complete(document: Document) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            answers = operation["responses"]
            for code, answer in answers.items():
                if code == "4XX":
                    answer["content"] = {problems.MEDIA_TYPE: answer["content"][JSON]}
                elif method == "post" and code in ("201", "202") and _takes_a_key(operation):
                    answer["headers"] = CREATED
            if method == "get" and path.startswith("/v1/") and JSON in answers["200"].get("content", {}):
                answers["200"]["headers"] = ETAG
                answers["304"] = {"description": "`If-None-Match` names the ETag of the answer.", "headers": ETAG}


def _takes_a_key(operation: Document) -> bool:
    return any(parameter["name"] == idempotency.HEADER for parameter in operation.get("parameters", []))
