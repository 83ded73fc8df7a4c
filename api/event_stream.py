"""One client's stream of a job's timeline: server-sent events as they happen, until the job has ended."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator

from fastapi.concurrency import run_in_threadpool
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Message, Receive, Scope, Send

from api.deps import Service
from api.problems import ProblemError
from api.schemas.events import EventOut
from db import events, jobs
from db.errors import NotFound
from db.status import FINAL

log = logging.getLogger(__name__)

#: Seconds between signs of life, and that a stream is open; the client then connects again.
PING_SECONDS = 15.0
LIFETIME = 15 * 60.0
#: Seconds that a client has to take what it is sent.
SEND_SECONDS = 10.0
#: Lines that are read at a time.
PAGE = 100


class EventStream(EventSourceResponse):
    """One client's stream, which has its place among those of the process while it is open."""

    def __init__(self, service: Service, job_id: str, seq: int) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(_lines(service, job_id, seq), headers=headers)
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


async def _lines(service: Service, job_id: str, seq: int) -> AsyncIterator[bytes]:
    end = time.monotonic() + LIFETIME
    while not service.watch.closing and time.monotonic() < end:
        try:
            lines, ended = await run_in_threadpool(read, service, job_id, seq)
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


def read(service: Service, job_id: str, seq: int) -> tuple[list[EventOut], bool]:
    """Lines after `seq`, and whether the job has ended and they are the last."""
    with service.database.read() as session:
        job = jobs.get(session, job_id)
        lines = [EventOut.model_validate(event) for event in events.after(session, job_id, seq, PAGE)]
        return lines, job.status in FINAL and len(lines) < PAGE
