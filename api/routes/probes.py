"""What the probes of a job measured."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from api.deps import AfterCursor, JobId, ServiceDep, Step
from api.numbers import numbers
from api.problems import ProblemError, suggest
from api.schemas.probes import ProbeOut
from api.strict import StrictRoute
from db import jobs, probes
from db.cursor import LAST_STEP
from db.probes import ProbeQuery
from db.tables import Job

router = APIRouter(prefix="/v1/jobs/{job_id}/probes", tags=["records"], route_class=StrictRoute)

ProbeName = Annotated[str, Path(max_length=200, description="One of the job's own: `landscape`, ...")]


@router.get("/{name}", response_class=Response, responses={200: {"model": ProbeOut}})
def read_probe(
    job_id: JobId,
    name: ProbeName,
    service: ServiceDep,
    from_step: Step = 0,
    to_step: Step = LAST_STEP,
    after: AfterCursor = None,
) -> Response:
    """Measurements of one probe as columns, in pages: of the network, and of each layer by its name."""
    query = ProbeQuery(name=name, from_step=from_step, to_step=to_step, after=after)
    with service.database.read() as session:
        options = _options(jobs.get(session, job_id), name)
        page = probes.read(session, job_id, query)
    return numbers({"name": name, "options": options} | asdict(page))


def _options(job: Job, name: str) -> dict[str, Any]:
    """What the job's spec says of the probe, as it was submitted.

    Raises:
        ProblemError: the job has no such probe.
    """
    # Not by the spec itself: one of an earlier installation may not be taken any more.
    own = {probe["name"]: probe for probe in job.resolved.get("probes", [])}
    if name not in own:
        has = f"It has {', '.join(own)}." if own else "It has none: name some in `probes` of the spec."
        hint = suggest(name, list(own)) or has
        raise ProblemError(
            404, "no_such_probe", "Not found", f"The job has no probe {name!r}. {hint}", allowed=list(own)
        )
    return {option: value for option, value in own[name].items() if option != "name"}
