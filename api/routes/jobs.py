"""Jobs: submit, read, list, cancel."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.deps import ArchitectureName, JobId, Limit, NormName, ServiceDep
from api.limits import check_memory
from api.schemas.jobs import ArtifactList, CheckpointList, EventPage, JobOut, JobPage
from api.schemas.plan import PlanOut
from api.strict import StrictRoute
from db import checkpoints, events, jobs
from db.jobs import JobFilter
from db.spec.job import JobSpec
from db.status import Status

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictRoute)


@router.post("", status_code=201)
def create_job(spec: JobSpec, response: Response, service: ServiceDep) -> JobOut:
    """Queue a training job."""
    check_memory(spec, service.memory_limit_bytes)
    with service.database.write() as session:
        job = JobOut.of(jobs.create(session, spec))
    # After the commit: a worker that is woken must find the row. If the message is lost, it is sent again.
    service.dispatcher.send(job.id)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job


@router.post("/plan")
def plan_job(spec: JobSpec, service: ServiceDep) -> PlanOut:
    """What a job would be: its network, its size, and what may not be meant. Nothing is stored."""
    return PlanOut.of(spec, service.memory_limit_bytes)


@router.get("")
def list_jobs(
    service: ServiceDep,
    limit: Limit = 20,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
    status: Status | None = None,
    norm: NormName | None = None,
    architecture: ArchitectureName | None = None,
) -> JobPage:
    """Jobs from the newest on."""
    where = JobFilter(status=status, norm=norm, architecture=architecture)
    with service.database.read() as session:
        page, next_cursor = jobs.page(session, where, limit, cursor)
        return JobPage(data=[JobOut.of(job) for job in page], next_cursor=next_cursor)


@router.get("/{job_id}")
def get_job(job_id: JobId, service: ServiceDep) -> JobOut:
    """One job: its status, progress, latest and best metrics."""
    with service.database.read() as session:
        return JobOut.of(jobs.get(session, job_id))


@router.post("/{job_id}/cancel", status_code=202, responses={200: {"description": "Asked for before."}})
def cancel_job(job_id: JobId, response: Response, service: ServiceDep) -> JobOut:
    """Cancel a queued job at once; stop a running one at its next step and keep what it recorded."""
    with service.database.write() as session:
        job, is_new = jobs.request_cancel(session, job_id)
        response.status_code = 202 if is_new else 200
        return JobOut.of(job)


@router.get("/{job_id}/events")
def list_events(
    job_id: JobId,
    service: ServiceDep,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="The `seq` of the last line read.")] = 0,
    limit: Limit = 20,
) -> EventPage:
    """The job's timeline."""
    with service.database.read() as session:
        jobs.get(session, job_id)
        return EventPage.of(list(events.after(session, job_id, after, limit + 1)), limit)


@router.get("/{job_id}/checkpoints")
def list_checkpoints(job_id: JobId, service: ServiceDep) -> CheckpointList:
    """The job's saved states."""
    with service.database.read() as session:
        jobs.get(session, job_id)
        return CheckpointList.of(list(checkpoints.list_for(session, job_id)))


@router.get("/{job_id}/artifacts")
def list_artifacts(job_id: JobId, service: ServiceDep) -> ArtifactList:
    """The job's files."""
    with service.database.read() as session:
        jobs.get(session, job_id)
        return ArtifactList.of(list(checkpoints.artifacts(session, job_id)))
