"""A job's numbers: metric series and the statistics of its sites."""

import csv
import io
from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Response

from api.deps import AfterCursor, JobId, MaxPoints, ServiceDep, Step
from api.numbers import numbers
from api.schemas.records import MetricsOut, StatisticsOut
from api.site_records import Wanted, site_records
from api.strict import StrictRoute
from db import jobs, metrics
from db.cursor import LAST_STEP
from db.metrics import MetricsPage, MetricsQuery

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["records"], route_class=StrictRoute)

Names = Annotated[str | None, Query(max_length=10_000, description="Comma-separated; all if not given.")]


@router.get("/metrics", response_class=Response, responses={200: {"model": MetricsOut}})
def read_metrics(
    job_id: JobId,
    service: ServiceDep,
    names: Names = None,
    from_step: Step = 0,
    to_step: Step = LAST_STEP,
    after: AfterCursor = None,
    max_points: MaxPoints = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Metric series as columns, in pages of 10,000 steps or down-sampled. `Accept: text/csv` for rows."""
    query = MetricsQuery(
        names=_split(names), from_step=from_step, to_step=to_step, after=after, max_points=max_points
    )
    with service.database.read() as session:
        jobs.get(session, job_id)
        page = metrics.read(session, job_id, query)
    return _csv(page) if "text/csv" in accept else numbers(asdict(page))


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _csv(page: MetricsPage) -> Response:
    rows = io.StringIO()
    writer = csv.writer(rows)
    writer.writerow(["name", "step", "value"])
    for name, series in page.series.items():
        writer.writerows((name, *row) for row in zip(series["step"], series["value"], strict=True))
    headers = {"X-Cursor": page.cursor, "X-More": str(page.more).lower()}
    return Response(rows.getvalue(), media_type="text/csv", headers=headers)


@router.get("/statistics", response_class=Response, responses={200: {"model": StatisticsOut}})
def read_statistics(
    job_id: JobId,
    service: ServiceDep,
    site: Names = None,
    mode: Literal["train", "eval"] | None = None,
    channels: Annotated[str, Query(max_length=10_000, description="summary, all, or 0,5,9")] = "summary",
    from_step: Step = 0,
    to_step: Step = LAST_STEP,
    after: AfterCursor = None,
    max_points: MaxPoints = None,
) -> Response:
    """What normalization did at each site, by recorded step, in pages or down-sampled.

    Moments in train mode and in eval mode, drift of the stored statistics, noise of a batch, scale and shift, the
    layer before the site and the activation beside it, percentiles of the output; as `population` what evaluations
    found.
    """
    wanted = Wanted(
        sites=_split(site),
        mode=mode,
        channels=channels,
        from_step=from_step,
        to_step=to_step,
        after=after,
        max_points=max_points,
    )
    with service.database.read() as session:
        return numbers(site_records(session, job_id, wanted))
