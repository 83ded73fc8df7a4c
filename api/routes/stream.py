"""A job's timeline as it happens: server-sent events."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Message, Receive, Scope, Send

from api.deps import JobId, Service, ServiceDep
from api.problems import ProblemError, invalid_header
from api.schemas.jobs import EventOut
from api.strict import StrictRoute
from db import events, jobs
from db.errors import NotFound
from db.status import FINAL

log = logging.getLogger(__name__)

LAST_SEQ = 2**31 - 1
NUMBER = re.compile(r"[0-9]{1,10}")
#: Seconds between signs of life, and that a stream is open; the client then connects again.
PING_SECONDS = 15.0
LIFETIME = 15 * 60.0
#: Seconds that a client has to take what it is sent.
SEND_SECONDS = 10.0
#: Lines that are read at a time.
PAGE = 100

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictRoute)


@router.get(
    "/{job_id}/events/stream",
    response_class=Response,
    responses={
        200: {
            "content": {"text/event-stream": {}},
            "description": "`id` is the line's `seq`, `event` its `type`.",
        },
        204: {"description": "The job has ended and its whole timeline was read: do not connect again."},
    },
)
async def stream_events(
    job_id: JobId,
    service: ServiceDep,
    after: Annotated[int, Query(ge=0, le=LAST_SEQ, description="The `seq` of the last line read.")] = 0,
    last_event_id: Annotated[str | None, Header(description="As `after`, and goes before it.")] = None,
) -> Response:
    """The job's timeline from `after` on, as server-sent events, until the job has ended.

    A browser's `EventSource` connects again by itself and says where it was.
    """
    seq = after if last_event_id is None else _seq(last_event_id)
    lines, ended = await run_in_threadpool(_read, service, job_id, seq)
    return EventStream(service, job_id, seq) if lines or not ended else Response(status_code=204)


def _seq(last_event_id: str) -> int:
    if not NUMBER.fullmatch(last_event_id) or int(last_event_id) > LAST_SEQ:
        raise invalid_header("Last-Event-ID", "The `id` of an event of this stream is taken, a whole number.")
    return int(last_event_id)


class EventStream(EventSourceResponse):
    """One client's stream, which has its place among those of the process while it is open."""

    def __init__(self, service: Service, job_id: str, seq: int) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(_stream(service, job_id, seq), headers=headers)
        self._places = service.streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._places.locked():
            raise ProblemError(
                503,
                "too_many_streams",
                "Too many streams",
                "This process has as many streams open as it takes. Read /events, or try again later.",
                headers={"Retry-After": "5"},
            )
        # Here, not in the generator: a client that goes while it is being sent to leaves that one suspended.
        async with self._places:
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """As any stream, but a client that does not read is not waited for."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        try:
            await super().stream_response(send_in_time)
        except TimeoutError:
            log.warning("A stream was given up, because its client does not read it.")


async def _stream(service: Service, job_id: str, seq: int) -> AsyncIterator[bytes]:
    end = time.monotonic() + LIFETIME
    while not service.watch.closing and time.monotonic() < end:
        try:
            lines, ended = await run_in_threadpool(_read, service, job_id, seq)
        except NotFound:  # deleted meanwhile; the next request is told
            return
        except SQLAlchemyError:
            log.warning("A stream of job %s waits for the database.", job_id, exc_info=True)
            lines, ended = [], False
        for line in lines:
            yield format_sse_event(data_str=line.model_dump_json(), event=line.type, id=str(line.seq))
            seq = line.seq
        if ended:
            return
        wait = min(PING_SECONDS, end - time.monotonic())
        if len(lines) < PAGE and await service.watch.news(job_id, seq, wait) is None:
            yield KEEPALIVE_COMMENT


def _read(service: Service, job_id: str, seq: int) -> tuple[list[EventOut], bool]:
    """Lines after `seq`, and whether the job has ended and they are the last."""
    with service.database.read() as session:
        job = jobs.get(session, job_id)
        lines = [EventOut.model_validate(event) for event in events.after(session, job_id, seq, PAGE)]
        return lines, job.status in FINAL and len(lines) < PAGE
