"""A job's numbers: metric series and the statistics of its sites."""

import csv
import io
import re
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Response

from api.deps import AfterCursor, JobId, MaxPoints, ServiceDep, Step
from api.numbers import numbers
from api.problems import FieldError, ProblemError, suggest
from api.schemas.records import MetricsOut, StatisticsOut
from api.stored import spec_of
from api.strict import StrictRoute
from db import jobs, metrics, statistics
from db.cursor import LAST_STEP
from db.metrics import MetricsPage, MetricsQuery
from db.spec.job import JobSpec, units_to_record
from db.statistics import StatisticsQuery
from models.neighbours import neighbours
from models.shapes import Site, sites

#: Parts of a site's record that not every site has.
GROUPS = ("drift", "noise", "affine", "population")

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
    """Per site and recorded step: moments in train mode and in eval mode, percentiles of the output."""
    with service.database.read() as session:
        job = jobs.get(session, job_id)
        spec = spec_of(job)
        known = _wanted_sites(spec, _split(site))
        query = StatisticsQuery(
            sites=list(known),
            modes=[mode] if mode else ["train", "eval"],
            channels=_channels(channels, min((site.channels for site in known.values()), default=0)),
            known=known,
            from_step=from_step,
            to_step=to_step,
            after=after,
            max_points=max_points,
        )
        page = asdict(statistics.read(session, job_id, query))
    nothing: dict[str, Any] = {"step": [], **dict.fromkeys([*query.modes, *GROUPS]), "percentiles": {}}
    page["sites"] = {
        name: record | nothing | _with_names(page["sites"].get(name, {}), record)
        for name, record in _descriptions(spec, known).items()
    }
    return numbers(page)


def _wanted_sites(spec: JobSpec, names: list[str]) -> dict[str, Site]:
    known = {site.name: site for site in sites(spec.blueprint())}
    for name in names:
        if name not in known:
            near = suggest(name, list(known))
            raise _bad_query("site", "unknown_site", "The network has no such site.", list(known), near)
    return {name: site for name, site in known.items() if not names or name in names}


def _descriptions(spec: JobSpec, known: dict[str, Site]) -> dict[str, dict[str, Any]]:
    """What is known of each site before any number: its norm, sizes, neighbours and recorded units."""
    units, beside = units_to_record(spec) if spec.statistics.details else {}, neighbours(spec.blueprint())
    found: dict[str, dict[str, Any]] = {}
    for name, site in known.items():
        record = {"norm": site.norm, "channels": site.channels, "moments": site.moments}
        record["units"] = list(units.get(name, ()))
        if site.time_steps is not None:
            record["time_step"] = list(range(site.time_steps))
        layer, activation = beside[name].layer, beside[name].activation
        found[name] = record | {
            "layer": layer and {"name": layer},
            "activation": activation and {"name": activation.name},
        }
    return found


def _with_names(record: dict[str, Any], description: dict[str, Any]) -> dict[str, Any]:
    """The record with the names of its site's neighbours beside their numbers."""
    named = {group: description[group] | record[group] for group in ("layer", "activation") if group in record}
    return record | named


def _channels(text: str, available: int) -> tuple[int, ...] | None:
    """None for the summary, an empty tuple for all channels, or the channels that are named."""
    if text in ("summary", "all"):
        return None if text == "summary" else ()
    parts = _split(text)
    if parts and all(re.fullmatch(r"[0-9]{1,9}", part) and int(part) < available for part in parts):
        return tuple(dict.fromkeys(int(part) for part in parts))  # each once
    allowed = f"summary, all, or channels from 0 to {available - 1}: 0,5,9"
    raise _bad_query("channels", "unknown_channel", "There are no such channels.", allowed)


def _bad_query(parameter: str, code: str, message: str, allowed: object, near: str | None = None) -> ProblemError:
    error = FieldError(pointer=f"?{parameter}", code=code, message=message, allowed=allowed, suggestion=near)
    return ProblemError(422, "invalid_query", "The query is not valid", message, errors=[error])
