"""The one mapping from errors to answers."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.problems import FieldError, ProblemError
from api.strict import UnreadableBody
from api.validation import field_errors
from db.errors import (
    FileDamaged,
    FileMissing,
    InvalidCursor,
    NormlabError,
    NotFound,
    StorageFailed,
    StorageFull,
    TransitionRefused,
)
from db.idempotency import IdempotencyKeyReused
from db.spec.job import JobSpec

log = logging.getLogger(__name__)

#: Title and code of what the framework itself refuses.
REFUSALS = {
    404: ("Not found", "not_found"),
    405: ("Method not allowed", "method_not_allowed"),
    413: ("The body is too large", "body_too_large"),
}


def install(app: FastAPI) -> None:
    """Make every error of the application a problem document."""
    app.add_exception_handler(ProblemError, _answer_problem)
    app.add_exception_handler(NormlabError, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_problem)


def _answer_problem(request: Request, error: Exception) -> Response:
    return to_problem(request, error).response(request.url.path, request.state.request_id)


def to_problem(request: Request, error: Exception) -> ProblemError:
    """The problem that an error is; anything unforeseen is a 500 that says nothing of the inside."""
    match error:
        case ProblemError():
            return error
        case UnreadableBody():
            return error.problem
        case NormlabError():
            return _refused(error)
        case RequestValidationError():
            return _invalid(request, error)
        case HTTPException():
            return _http(request, error)
        case OperationalError() | InterfaceError() | PoolTimeout() | DBAPIError(connection_invalidated=True):
            log.error("The database did not answer request %s.", request.state.request_id, exc_info=error)
            detail = "The database does not answer, or is too busy. Send the request again soon."
            return ProblemError(503, "database_unavailable", "No database", detail, headers={"Retry-After": "5"})
    log.exception("Request %s failed.", request.state.request_id, exc_info=error)
    return ProblemError(
        500, "internal_error", "Internal error", "The service failed; the request id finds the details in its log."
    )


def _refused(error: NormlabError) -> ProblemError:
    """What the database or the store refuses."""
    match error:
        case NotFound():
            return ProblemError(404, error.code, "Not found", str(error))
        case InvalidCursor():
            wrong = FieldError(pointer=f"?{error.parameter}", code=error.code, message=str(error))
            return ProblemError(422, error.code, "The query is not valid", str(error), errors=[wrong])
        case TransitionRefused():
            detail = f"{error} It can in these states: {', '.join(error.allowed)}."
            return ProblemError(409, error.code, "Not possible now", detail, allowed=error.allowed)
        case FileMissing() | FileDamaged():
            log.error("File %s of the store: %s.", error.key, error.code)
            return ProblemError(410, error.code, "Gone", str(error))
        case StorageFull() | StorageFailed():
            log.error("The store refused.", exc_info=error)
            return ProblemError(503, error.code, "The store refused", str(error), headers=_retry_after(error))
        case IdempotencyKeyReused():
            return ProblemError(422, error.code, "The key has another request", str(error))
    return ProblemError(409, error.code, "Not possible now", str(error), headers=_retry_after(error))


def _retry_after(error: NormlabError) -> dict[str, str]:
    return {} if error.retry_after_seconds is None else {"Retry-After": str(error.retry_after_seconds)}


def _invalid(request: Request, error: RequestValidationError) -> ProblemError:
    field = getattr(request.scope.get("route"), "body_field", None)
    annotation: Any = field.field_info.annotation if field is not None else None
    schema = annotation.model_json_schema() if hasattr(annotation, "model_json_schema") else None
    errors = field_errors(error.errors(), schema)
    if errors and all(wrong.pointer.startswith("?") for wrong in errors):
        return ProblemError(422, "invalid_query", "The query is not valid", _say(errors), errors=errors)
    code = "invalid_spec" if annotation is JobSpec else "invalid_body"
    return ProblemError(422, code, "The body is not valid", _say(errors), errors=errors)


def _say(errors: list[FieldError]) -> str:
    first = f"{errors[0].pointer or 'The body'}: {errors[0].message}" if errors else ""
    return first if len(errors) <= 1 else f"{first} ({len(errors)} fields are wrong.)"


def _http(request: Request, error: HTTPException) -> ProblemError:
    title, code = REFUSALS.get(error.status_code, ("Request refused", "refused"))
    detail = {
        404: f"There is nothing at {request.url.path}.",
        405: f"{request.url.path} does not take {request.method}.",
        413: "The body is larger than this service takes.",
    }.get(error.status_code, str(error.detail))
    return ProblemError(error.status_code, code, title, detail, headers=dict(error.headers or {}))
