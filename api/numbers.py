"""Answers that are many numbers."""

from typing import Any

from fastapi import Response
from pydantic_core import to_json


def numbers(page: dict[str, Any]) -> Response:
    """A page of columns as JSON, without what it has nothing of.

    Numbers that are not finite become the words NaN, Infinity and -Infinity.
    """
    # Bytes made here: a model of a hundred thousand numbers would be checked one by one.
    body = to_json(without_nulls(page), inf_nan_mode="strings")
    return Response(body, media_type="application/json")


def without_nulls(page: dict[str, Any]) -> dict[str, Any]:
    """What it has something of."""
    return {name: value for name, value in page.items() if value is not None}
