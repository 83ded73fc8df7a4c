"""The numbers of many jobs at once."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

from api.deps import ServiceDep
from api.numbers import numbers, without_nulls
from api.problems import FieldError, ProblemError
from api.schemas.metrics_query import MetricsQueryIn, MetricsQueryOut, after_pointer
from api.strict import StrictRoute
from db import jobs, metrics
from db.errors import InvalidCursor
from db.metrics import MetricsQuery

router = APIRouter(prefix="/v1/metrics", tags=["records"], route_class=StrictRoute)


@router.post("/query", response_class=Response, responses={200: {"model": MetricsQueryOut}})
def query_metrics(query: MetricsQueryIn, service: ServiceDep) -> Response:
    """Metric series of up to 100 jobs, each as `GET /v1/jobs/{id}/metrics` has them.

    Together the jobs have pages of 100,000 steps, each at most 10,000.
    """
    with service.database.read() as session:
        _check_jobs(session, query)
        return numbers({"data": list(_entries(session, query))})


def _check_jobs(session: Session, query: MetricsQueryIn) -> None:
    known = jobs.existing(session, query.jobs)
    wrong = [
        FieldError(pointer=f"/jobs/{index}", code="not_found", message="There is no job with this id.")
        for index, job_id in enumerate(query.jobs)
        if job_id not in known
    ]
    if wrong:
        detail = f"{wrong[0].pointer}: {wrong[0].message}"
        raise ProblemError(404, "not_found", "Not found", detail, errors=wrong)


def _entries(session: Session, query: MetricsQueryIn) -> Iterator[dict[str, Any]]:
    wanted = MetricsQuery(
        names=query.names, from_step=query.from_step, to_step=query.to_step, max_points=query.max_points
    ).shared(len(query.jobs))
    for job_id in query.jobs:
        try:
            page = metrics.read(session, job_id, replace(wanted, after=query.after.get(job_id)))
        except InvalidCursor as error:
            wrong = FieldError(pointer=after_pointer(job_id), code=error.code, message=str(error))
            raise ProblemError(422, error.code, "The body is not valid", str(error), errors=[wrong]) from error
        # Not `asdict`, which copies every number.
        yield without_nulls({"job": job_id} | vars(page))
