"""Answers that are many numbers."""

from typing import Any

from fastapi import Response
from pydantic_core import to_json


def numbers(page: dict[str, Any]) -> Response:
    """A page of columns as JSON, without what it has nothing of.

    Numbers that are not finite become the words NaN, Infinity and -Infinity.
    """
    # Bytes made here: a model of a hundred thousand numbers would be checked one by one.
    body = to_json({k: v for k, v in page.items() if v is not None}, inf_nan_mode="strings")
    return Response(body, media_type="application/json")
