"""A job's logs: what the processes of its attempts wrote."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from api.deps import AfterCursor, JobId, ServiceDep
from api.schemas.logs import LogPageOut
from api.strict import StrictRoute
from db import attempt_logs, jobs
from db.attempt_logs import LARGEST, LogPage, LogQuery
from db.status import LogStream

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["records"], route_class=StrictRoute)


@router.get("/logs", response_model=LogPageOut)
def read_logs(
    job_id: JobId,
    service: ServiceDep,
    attempt: Annotated[int | None, Query(ge=1, le=LARGEST, description="All if not given.")] = None,
    stream: Annotated[LogStream | None, Query(description="All if not given.")] = None,
    after: AfterCursor = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Lines of a page.")] = 200,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> LogPageOut | Response:
    """What the job's attempts wrote on standard output and error, and their warnings.

    One attempt after the other, each in order. `Accept: text/plain` for the lines alone.
    """
    query = LogQuery(attempt=attempt, stream=stream, after=after, limit=limit)
    with service.database.read() as session:
        jobs.get(session, job_id)
        page = attempt_logs.read(session, job_id, query)
        return _text(page) if "text/plain" in accept else LogPageOut.of(page)


def _text(page: LogPage) -> Response:
    headers = {
        "X-Cursor": page.cursor,
        "X-More": str(page.more).lower(),
        # What a job prints is never to be taken for a page.
        "X-Content-Type-Options": "nosniff",
    }
    return Response("".join(f"{line.text}\n" for line in page.lines), media_type="text/plain", headers=headers)
