"""Population statistics for a trained model: work after a job."""

from fastapi import APIRouter, Response

from api import recalibration
from api.deps import JobId, ServiceDep
from api.schemas.jobs import ArtifactOut
from api.schemas.recalibrations import RecalibrationIn
from api.strict import StrictRoute
from db.errors import ArtifactPending

#: What is done where the request has no body.
DEFAULTS = RecalibrationIn()

router = APIRouter(prefix="/v1/jobs", tags=["artifacts"], route_class=StrictRoute)


@router.post("/{job_id}/recalibrate", status_code=202)
def recalibrate_job(
    job_id: JobId, response: Response, service: ServiceDep, body: RecalibrationIn = DEFAULTS
) -> ArtifactOut:
    """Estimate the statistics of the job's newest checkpoint anew, into a file of its own.

    The answer is that file, still pending: poll it at its `Location`.
    """
    artifact = ArtifactOut.model_validate(recalibration.order(service, job_id, body))
    response.headers["Location"] = f"/v1/artifacts/{artifact.id}"
    response.headers["Retry-After"] = str(ArtifactPending.retry_after_seconds)
    return artifact
