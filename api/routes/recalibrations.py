"""Population statistics for a trained model: work after a job."""

from fastapi import APIRouter, Response

from api import recalibration
from api.deps import JobId, ServiceDep
from api.idempotency import OnceDep
from api.schemas.artifacts import ArtifactOut
from api.schemas.recalibrations import RecalibrationIn
from api.strict import StrictRoute
from db.errors import ArtifactPending

#: What is done where the request has no body.
DEFAULTS = RecalibrationIn()

router = APIRouter(prefix="/v1/jobs", tags=["artifacts"], route_class=StrictRoute)


@router.post("/{job_id}/recalibrate", status_code=202, response_model=ArtifactOut)
def recalibrate_job(
    job_id: JobId, service: ServiceDep, once: OnceDep, body: RecalibrationIn = DEFAULTS
) -> Response:
    """Estimate the statistics of the job's newest checkpoint anew, into a file of its own.

    The answer is that file, still pending: poll it at its `Location`.
    """
    answer = recalibration.order(service, once, job_id, body)
    answer.headers["Retry-After"] = str(ArtifactPending.retry_after_seconds)
    return answer
