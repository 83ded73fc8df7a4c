"""What may be asked of a job: cancel, pause, resume, retry, change, delete."""

import logging
from typing import Any

from fastapi import APIRouter, Response

from api.deps import JobId, Service, ServiceDep
from api.schemas.changes import JobChange
from api.schemas.jobs import JobOut
from api.strict import StrictRoute
from db import commands
from db.commands import Command
from db.errors import NormlabError
from db.status import Status

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"], route_class=StrictRoute)
#: A repeated command is no error, so that a client may ask again after a lost answer.
REPEATED: dict[int | str, dict[str, Any]] = {200: {"description": "Asked for before."}}


@router.patch("")
def change_job(job_id: JobId, change: JobChange, service: ServiceDep) -> JobOut:
    """Set the name, all labels, or the priority; the spec stays as it was posted."""
    with service.database.write() as session:
        return JobOut.of(commands.change(session, job_id, **change.model_dump(exclude_unset=True)))


@router.delete("", status_code=204)
def delete_job(job_id: JobId, service: ServiceDep) -> None:
    """Delete a job that has ended, with its records and its files."""
    with service.database.write() as session:
        keys = commands.delete(session, job_id)
    try:
        service.store.delete(keys)
    except NormlabError:
        # The job is gone all the same; files that no row names are swept later.
        log.warning("Files of job %s are still in the store.", job_id, exc_info=True)


@router.post("/cancel", status_code=202, responses=REPEATED)
def cancel_job(job_id: JobId, response: Response, service: ServiceDep) -> JobOut:
    """Cancel a queued or paused job at once; stop a running one at its next step and keep what it recorded."""
    return _carry_out(commands.cancel, job_id, response, service)


@router.post("/pause", status_code=202, responses=REPEATED)
def pause_job(job_id: JobId, response: Response, service: ServiceDep) -> JobOut:
    """Have a running job write a checkpoint and give up its slot."""
    return _carry_out(commands.pause, job_id, response, service)


@router.post("/resume", status_code=202, responses=REPEATED)
def resume_job(job_id: JobId, response: Response, service: ServiceDep) -> JobOut:
    """Queue a paused job again; it goes on exactly where it was."""
    return _carry_out(commands.resume, job_id, response, service)


@router.post("/retry", status_code=202, responses=REPEATED)
def retry_job(job_id: JobId, response: Response, service: ServiceDep) -> JobOut:
    """Queue a failed or cancelled job again; it goes on from its newest checkpoint."""
    return _carry_out(commands.retry, job_id, response, service)


def _carry_out(command: Command, job_id: str, response: Response, service: Service) -> JobOut:
    with service.database.write() as session:
        job, is_new = command(session, job_id)
        shown = JobOut.of(job)
    # After the commit: a worker that is woken must find the job queued.
    if is_new and shown.status is Status.QUEUED:
        service.dispatcher.send(job_id)
    response.status_code = 202 if is_new else 200
    return shown
