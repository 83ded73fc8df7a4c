"""What surrounds every request: an id on the answer, and an answer whatever happens."""

import re

import uuid_utils
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import REFUSALS, to_problem
from api.problems import ProblemError

HEADER = "X-Request-Id"
#: A client's own id is kept if it looks like one.
USABLE = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: The route whose bodies may be larger.
BRINGS_INPUTS = re.compile(r"/v1/jobs/[^/]+/recalibrate")


class RequestContext:
    """Gives each request an id, refuses bodies that are too large, answers unforeseen errors."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, max_inputs_bytes: int) -> None:
        self._app = app
        # These count a body that comes without a length; one with a length is refused by it.
        self._limited = RequestBodyLimitMiddleware(app, max_body_bytes)
        self._limited_inputs = RequestBodyLimitMiddleware(app, max_inputs_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(HEADER, "")
        request_id = given if USABLE.fullmatch(given) else uuid_utils.uuid7().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        app = self._limited_inputs if BRINGS_INPUTS.fullmatch(scope["path"]) else self._limited
        try:
            _check_length(headers.get("content-length", ""), app.max_body_size)
            await app(scope, receive, send_with_id)
        except Exception as error:  # the last door: a client never sees a traceback or a cut connection
            if started:
                raise
            problem = to_problem(Request(scope), error)
            await problem.response(scope["path"], request_id)(scope, receive, send_with_id)


def _check_length(content_length: str, most: int) -> None:
    """Refuse by the header, before a byte of the body is read."""
    if content_length.isdecimal() and int(content_length[:20]) > most:
        title, code = REFUSALS[413]
        raise ProblemError(413, code, title, f"A body may have at most {most} bytes here.")
