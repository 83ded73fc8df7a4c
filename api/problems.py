"""Errors as RFC 9457 problem documents: what is wrong, where, what is allowed, and the way out."""

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """One wrong field."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    pointer: str
    """A JSON pointer into the body (RFC 6901), `?name` for a query parameter, `Name` for a header."""
    code: str
    """What is wrong with it, for programs."""
    message: str
    """The same in words."""
    allowed: Any = None
    """What is taken there: a list or a range in words; left out where that cannot be said."""
    suggestion: str | None = None
    """What was probably meant; left out where nothing is near."""


class Problem(BaseModel):
    """The body of every answer that is an error (RFC 9457)."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    """`urn:normlab:problem:` and the code."""
    title: str
    """The kind of problem in words."""
    status: int
    """The HTTP status of the answer."""
    code: str
    """The kind of problem, for programs."""
    detail: str
    """What is wrong this time, in words."""
    instance: str
    """Path of the request."""
    request_id: str
    """As the header `X-Request-ID`; the service's log has it too."""
    errors: list[FieldError] = []
    """The fields that are wrong; left out or empty where it is not a matter of fields."""
    allowed: list[str] | None = None
    """Of a refused command: the states in which it is taken. Left out otherwise."""


class ProblemError(Exception):
    """An error that becomes a problem document; raised by the API's own checks."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        *,
        errors: list[FieldError] | None = None,
        allowed: list[str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.errors = errors or []
        self.allowed = allowed
        self.headers = headers

    def response(self, instance: str, request_id: str) -> Response:
        """The answer to send."""
        problem = Problem(
            type=f"urn:normlab:problem:{self.code}",
            title=self.title,
            status=self.status,
            code=self.code,
            detail=self.detail,
            instance=instance,
            request_id=request_id,
            errors=self.errors,
            allowed=self.allowed,
        )
        body = problem.model_dump_json(exclude_none=True)
        return Response(body, self.status, self.headers, media_type=MEDIA_TYPE)


def invalid_header(name: str, message: str) -> ProblemError:
    """422 for a header that is not as it should be."""
    wrong = FieldError(pointer=name, code="invalid_header", message=message)
    return ProblemError(422, wrong.code, "A header is not valid", f"{name}: {message}", errors=[wrong])


def suggest(given: object, allowed: list[str]) -> str | None:
    """A sentence with the allowed name that is nearest to what was given, if one is near."""
    if not isinstance(given, str):
        return None
    folded = {name.casefold(): name for name in allowed}
    near = difflib.get_close_matches(given[:100].casefold(), list(folded), n=1, cutoff=0.6)
    return f"Did you mean {folded[near[0]]!r}?" if near else None
