"""Requests are read strictly: what JSON, the database or a later reader cannot hold is refused at the door."""

import json
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from api.etag import conditional
from api.problems import FieldError, ProblemError, suggest

MAX_DEPTH = 32
#: Those of 64 bits.
INTEGERS = (-(2**63), 2**63 - 1)


class UnreadableBody(HTTPException):
    """A body that is no JSON document this service takes; FastAPI lets HTTP exceptions pass while it parses."""

    def __init__(self, problem: ProblemError) -> None:
        super().__init__(problem.status, problem.detail)
        self.problem = problem


def _unreadable(status: int, code: str, pointer: str, message: str) -> UnreadableBody:
    error = FieldError(pointer=pointer, code=code, message=message)
    return UnreadableBody(ProblemError(status, code, "The body cannot be read", message, errors=[error]))


class StrictRequest(Request):
    """A request whose JSON is checked as it is parsed."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            # In a thread: a body with millions of numbers would hold up every other request.
            self._json = await run_in_threadpool(parse, await self.body())
        return self._json


class StrictRoute(APIRoute):
    """A route that takes JSON bodies only, refuses query parameters that it does not know, and gives ETags."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        known = sorted(field.alias for field in self.dependant.query_params)
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            _check_query(request, known)
            field = self.body_field
            if field is not None and (field.field_info.is_required() or _has_body(request)):
                _check_content_type(request)
            return conditional(request, await handle(StrictRequest(request.scope, request.receive)))

        return strict


def _check_query(request: Request, known: list[str]) -> None:
    times = Counter(name for name, _ in request.query_params.multi_items())
    if repeated := [name for name, count in times.items() if count > 1]:
        message = "This query parameter is given more than once."
        errors = [
            FieldError(pointer=f"?{name[:100]}", code="repeated_parameter", message=message) for name in repeated
        ]
        raise ProblemError(422, "invalid_query", "The query is not valid", message, errors=errors)
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        errors = [
            FieldError(
                pointer=f"?{name[:100]}",
                code="unknown_parameter",
                message="There is no such query parameter here.",
                allowed=known,
                suggestion=suggest(name, known),
            )
            for name in unknown
        ]
        raise ProblemError(
            422, "invalid_query", "The query is not valid", "A query parameter is not known.", errors=errors
        )


def _has_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def _check_content_type(request: Request) -> None:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise ProblemError(
            415,
            "not_json",
            "The body is not JSON",
            "Send the body as JSON with the header 'Content-Type: application/json'.",
        )


def parse(body: bytes) -> Any:
    """The JSON document in `body`.

    Raises:
        UnreadableBody: not JSON, nested too deeply, a key twice in one object, a number that is not finite or
            does not fit 64 bits, or text that the database cannot hold.
    """
    try:
        value = json.loads(body, parse_constant=float, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        message = f"Not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        raise _unreadable(400, "malformed_json", "", message) from error
    except UnicodeDecodeError as error:
        raise _unreadable(400, "malformed_json", "", "Not JSON: the body is not UTF-8.") from error
    except RecursionError as error:
        raise _too_deep("") from error
    except ValueError as error:  # a number of thousands of digits
        raise _unreadable(400, "malformed_json", "", "Not JSON: a number has too many digits.") from error
    for pointer, problem in _problems(value, "", 0):
        raise _unreadable(422, problem[0], pointer, problem[1])
    return value


def _too_deep(pointer: str) -> UnreadableBody:
    return _unreadable(422, "too_deep", pointer, f"Nested more than {MAX_DEPTH} levels deep.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise _unreadable(422, "duplicate_key", "", f"An object has the key {twice[:100]!r} twice.")
    return result


def _problems(value: Any, pointer: str, depth: int) -> Iterator[tuple[str, tuple[str, str]]]:
    """What is wrong with a parsed document, and where."""
    if depth > MAX_DEPTH:
        yield pointer, ("too_deep", f"Nested more than {MAX_DEPTH} levels deep.")
    elif isinstance(value, dict):
        for key, inner in value.items():
            name = key.replace("~", "~0").replace("/", "~1")
            yield from _text_problems(key, pointer)
            yield from _problems(inner, f"{pointer}/{name}", depth + 1)
    elif isinstance(value, list):
        if depth < MAX_DEPTH and are_numbers(value, *INTEGERS):
            return
        for index, inner in enumerate(value):
            yield from _problems(inner, f"{pointer}/{index}", depth + 1)
    elif isinstance(value, str):
        yield from _text_problems(value, pointer)
    elif isinstance(value, float) and not math.isfinite(value):
        yield pointer, ("not_finite", "NaN, infinity and what is too large for a float are not taken.")
    elif isinstance(value, int) and not INTEGERS[0] <= value <= INTEGERS[1]:
        yield pointer, ("too_large", "The number does not fit 64 bits.")


def are_numbers(values: list[Any], least: float, most: float) -> bool:
    """Whether all are finite numbers in a range; a bool is none.

    Of a row at once, because a body may have millions: one by one they would take ten times as long.
    """
    if not values or not {*map(type, values)} <= {int, float}:
        return False
    # In this order: an integer may be too large for isfinite.
    return least <= min(values) and max(values) <= most and all(map(math.isfinite, values))


def _text_problems(text: str, pointer: str) -> Iterator[tuple[str, tuple[str, str]]]:
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        yield pointer, ("invalid_text", "The text holds a NUL or half of a surrogate pair.")
