"""Files: what they are, and their content."""

from typing import Literal

from fastapi import APIRouter, Request, Response

from api.deps import ArtifactId, JobId, ServiceDep
from api.downloads import answer
from api.schemas.jobs import ArtifactOut
from api.strict import StrictRoute
from db import checkpoints, jobs, recalibrations

router = APIRouter(prefix="/v1", tags=["artifacts"], route_class=StrictRoute)


@router.get("/artifacts/{artifact_id}")
def get_artifact(artifact_id: ArtifactId, service: ServiceDep) -> ArtifactOut:
    """One file: its name, size and sha256."""
    with service.database.read() as session:
        return ArtifactOut.model_validate(checkpoints.artifact(session, artifact_id))


@router.api_route("/artifacts/{artifact_id}/content", methods=["GET", "HEAD"], response_class=Response)
def read_artifact(artifact_id: ArtifactId, request: Request, service: ServiceDep) -> Response:
    """The bytes of a file, whole or by `Range`; the ETag is the sha256."""
    with service.database.read() as session:
        artifact = checkpoints.artifact(session, artifact_id)
    return answer(request, artifact, service.store, immutable=True)


@router.api_route("/jobs/{job_id}/model", methods=["GET", "HEAD"], response_class=Response)
def read_model(
    job_id: JobId,
    request: Request,
    service: ServiceDep,
    format: Literal["safetensors", "config", "modeling"] = "safetensors",
    weights: checkpoints.Weights = "raw",
    statistics: Literal["running", "precise"] = "running",
) -> Response:
    """The model of the job's newest checkpoint: its weights, its `config.json`, or the code that loads both.

    `weights=ema` has the averages of a job with `ema`. `statistics=precise` has population statistics, of the
    newest recalibration, in place of the running averages.
    """
    with service.database.read() as session:
        job = jobs.get(session, job_id)
        if statistics == "precise" and format == "safetensors":
            artifact = recalibrations.precise_model(session, job, weights)
        else:
            artifact = checkpoints.model(session, job, format, weights)
    return answer(request, artifact, service.store, immutable=False)
