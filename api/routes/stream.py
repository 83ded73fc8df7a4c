"""A job's timeline as it happens: server-sent events."""

import re
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.concurrency import run_in_threadpool

from api.deps import JobId, ServiceDep
from api.event_stream import EventStream, read
from api.problems import invalid_header
from api.strict import StrictRoute

LAST_SEQ = 2**31 - 1
NUMBER = re.compile(r"[0-9]{1,10}")

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
    lines, ended = await run_in_threadpool(read, service, job_id, seq)
    return EventStream(service, job_id, seq) if lines or not ended else Response(status_code=204)


def _seq(last_event_id: str) -> int:
    if not NUMBER.fullmatch(last_event_id) or int(last_event_id) > LAST_SEQ:
        raise invalid_header("Last-Event-ID", "The `id` of an event of this stream is taken, a whole number.")
    return int(last_event_id)
