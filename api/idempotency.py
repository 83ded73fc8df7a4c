"""`Idempotency-Key`: a POST that creates something may be sent again, and creates it once."""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Annotated, Protocol, TypeVar

from fastapi import Depends, Header, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.problems import invalid_header
from db import idempotency
from db.engine import Database
from db.idempotency import Answer

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
VISIBLE = re.compile(r"[!-~]{1,255}")


class Created(Protocol):
    """What is created, as clients see it."""

    id: str

    def model_dump_json(self) -> str: ...


C = TypeVar("C", bound=Created)


class Once:
    """One POST and its key, if it has one."""

    def __init__(self, key: str | None, request_sha256: str) -> None:
        self._key = key
        self._request_sha256 = request_sha256

    def earlier(self, database: Database) -> Response | None:
        """The answer that the first request with this key was given.

        Raises:
            IdempotencyKeyReused: the first was another request.
        """
        if self._key is None:
            return None
        with database.read() as session:
            answer = idempotency.find(session, self._key, self._request_sha256)
        return _replay(answer) if answer is not None else None

    def create(
        self,
        database: Database,
        make: Callable[[Session], C],
        *,
        at: str,
        status: int | Callable[[C], int] = 201,
        then: Callable[[C], object] | None = None,
    ) -> Response:
        """Create something in one transaction with its key, or replay the answer of the request that has.

        `make` creates it, and is not called for a replay; what it raises leaves no trace. `at` is the place of
        such things, for `Location`; `status` may follow from what was made. `then` comes after the commit.

        Raises:
            IdempotencyKeyReused: the key was used for another request.
            IdempotencyKeyInUse: the first request with this key is still running.
        """
        if (earlier := self.earlier(database)) is not None:
            return earlier
        with database.write() as session:
            if self._key is not None and (first := idempotency.claim(session, self._key, self._request_sha256)):
                return _replay(first)
            made = make(session)
            answer = Answer(status=_status(status, made), location=f"{at}/{made.id}", body=made.model_dump_json())
            if self._key is not None:
                idempotency.fill(session, self._key, answer)
        if then is not None:
            then(made)
        return _respond(answer)


def _status(status: int | Callable[[C], int], made: C) -> int:
    return status if isinstance(status, int) else status(made)


def is_replay(response: Response) -> bool:
    """Whether the answer is that of an earlier request."""
    return REPLAYED in response.headers


def _respond(answer: Answer, **more: str) -> Response:
    headers = {"Location": answer.location, **more}
    return Response(answer.body, answer.status, headers, media_type="application/json")


def _replay(answer: Answer) -> Response:
    return _respond(answer, **{REPLAYED: "true"})


async def _once(
    request: Request,
    key: Annotated[
        str | None,
        Header(
            alias=HEADER,
            description="1 to 255 visible ASCII characters of your own choice, such as a UUID. A request that is "
            "sent again with its key within a day is answered as the first was, and creates nothing.",
        ),
    ] = None,
) -> Once:
    if key is not None and not VISIBLE.fullmatch(key):
        raise invalid_header(HEADER, "1 to 255 visible ASCII characters are taken.")
    target = f"{request.method} {request.url.path}?{request.url.query}\n"
    digest = sha256(target.encode() + await request.body())
    return Once(key, digest.hexdigest())


OnceDep = Annotated[Once, Depends(_once)]
