"""New jobs from old ones."""

from fastapi import APIRouter, Response

from api import forks
from api.deps import JobId, ServiceDep
from api.idempotency import OnceDep
from api.schemas.forks import ForkIn
from api.schemas.jobs import JobOut
from api.strict import StrictRoute

#: What is done where the request has no body.
DEFAULTS = ForkIn()

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictRoute)


@router.post("/{job_id}/fork", status_code=201, response_model=JobOut)
def fork_job(job_id: JobId, service: ServiceDep, once: OnceDep, body: ForkIn = DEFAULTS) -> Response:
    """Queue a job that goes on from a checkpoint of this one, with changes to its spec."""
    return forks.fork(service, once, job_id, body)


@router.post("/{job_id}/reproduce", status_code=201, response_model=JobOut)
def reproduce_job(job_id: JobId, service: ServiceDep, once: OnceDep) -> Response:
    """Queue this job's stored spec once more; at its end, `origin` says if the weights are the same."""
    return forks.reproduce(service, once, job_id)
