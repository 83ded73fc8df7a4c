"""Jobs: submit, read, list, and what belongs to them."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.concurrency import run_in_threadpool

from api.deps import ArchitectureName, DatasetName, JobId, Limit, NormName, Priority, Service, ServiceDep
from api.idempotency import OnceDep
from api.job_query import read_bounds, read_labels, read_order
from api.limits import check_memory
from api.schemas.artifacts import ArtifactList
from api.schemas.attempts import AttemptList, AttemptOut
from api.schemas.checkpoints import CheckpointList
from api.schemas.events import EventPage
from api.schemas.jobs import JobOut, JobPage
from api.schemas.plan import PlanOut
from api.strict import StrictRoute
from db import attempts, checkpoints, events, job_lists, jobs, queue
from db.job_lists import JobFilter
from db.spec.job import JobSpec
from db.status import Status

Wait = Annotated[
    int, Query(ge=0, le=60, description="Seconds to wait for a change of status; not if it is final.")
]

ListCursor = Annotated[
    str | None, Query(max_length=8000, description="`next_cursor` of a page in the same order.")
]
Labels = Annotated[str | None, Query(max_length=4000, description="`key=value`; several with commas.")]
Bounds = Annotated[
    str | None,
    Query(
        max_length=1000,
        description="`test/accuracy>=0.9` (or <=, >, <) of the latest value, `best:test/loss<0.1` of the best; "
        "several with commas. A job without the metric, or where it is not finite, does not fit.",
    ),
]
OrderBy = Annotated[
    str,
    Query(
        max_length=500,
        description="`created_at`, or a metric: `test/loss` by its latest value, `best:test/loss` by the best; "
        "with `-` before it descending. Jobs without the metric, or where it is not finite, come last either way; "
        "of equal ones the newest comes first.",
    ),
]

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictRoute)


@router.post("", status_code=201, response_model=JobOut)
def create_job(spec: JobSpec, service: ServiceDep, once: OnceDep, priority: Priority = 0) -> Response:
    """Queue a training job."""
    check_memory(spec, service.memory_limit_bytes)
    return once.create(
        service.database,
        lambda session: JobOut.of(jobs.create(session, spec, priority=priority)),
        at="/v1/jobs",
        # After the commit: a worker that is woken must find the row. If the message is lost, it is sent again.
        then=lambda job: service.dispatcher.send(job.id),
    )


@router.post("/plan")
def plan_job(spec: JobSpec, service: ServiceDep) -> PlanOut:
    """What a job would be: its network, its size, and what may not be meant. Nothing is stored."""
    return PlanOut.of(spec, service.memory_limit_bytes)


@router.get("")
def list_jobs(
    service: ServiceDep,
    limit: Limit = 20,
    cursor: ListCursor = None,
    status: Status | None = None,
    norm: NormName | None = None,
    architecture: ArchitectureName | None = None,
    dataset: DatasetName | None = None,
    experiment: Annotated[str | None, Query(max_length=100, description="`exp_...`")] = None,
    label: Labels = None,
    metric: Bounds = None,
    order: OrderBy = "-created_at",
) -> JobPage:
    """Jobs in order, the newest first by default, that fit everything that is asked."""
    where = JobFilter(
        status=status,
        norm=norm,
        architecture=architecture,
        dataset=dataset,
        experiment=experiment,
        labels=read_labels(label),
        metrics=read_bounds(metric),
    )
    wanted = read_order(order)
    with service.database.read() as session:
        page, next_cursor = job_lists.page(session, where, limit, cursor, wanted)
        places = queue.places(session, page)
        return JobPage(data=[JobOut.of(job, places) for job in page], next_cursor=next_cursor)


@router.get("/{job_id}")
async def get_job(job_id: JobId, service: ServiceDep, wait: Wait = 0) -> JobOut:
    """One job: its status, progress, latest and best metrics. With `wait`, once its status is another than now."""
    if wait:
        await service.watch.status_change(job_id, wait)
    return await run_in_threadpool(_read_job, service, job_id)


def _read_job(service: Service, job_id: str) -> JobOut:
    with service.database.read() as session:
        job = jobs.get(session, job_id)
        return JobOut.of(job, queue.places(session, [job]))


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


@router.get("/{job_id}/attempts")
def list_attempts(job_id: JobId, service: ServiceDep) -> AttemptList:
    """The tries of workers at the job, each with how it ended."""
    with service.database.read() as session:
        jobs.get(session, job_id)
        return AttemptList(data=[AttemptOut.of(each) for each in attempts.list_for(session, job_id)])


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
