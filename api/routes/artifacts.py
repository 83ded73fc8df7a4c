"""Files: what they are, and their content."""

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator

from api.deps import ArtifactId, JobId, ServiceDep
from api.downloads import answer
from api.problems import FieldError, ProblemError
from api.schemas.artifacts import ArtifactOut
from api.strict import StrictRoute
from db import checkpoints, jobs, recalibrations
from db.spec.errors import spec_error

#: The newest checkpoint, the best one, or that of a step.
WHICH = re.compile(r"last|best|0|[1-9][0-9]{0,18}")


def _check_which(value: str) -> str:
    if WHICH.fullmatch(value) is None:
        message = "A checkpoint is last, best, or the number of a step."
        raise spec_error("no_such_checkpoint", "?checkpoint", message, allowed=["last", "best", "a step"])
    return value


Which = Annotated[str, AfterValidator(_check_which), Query(description="`last`, `best`, or a step.")]

router = APIRouter(prefix="/v1", tags=["artifacts"], route_class=StrictRoute)


@router.get("/artifacts/{artifact_id}")
def get_artifact(artifact_id: ArtifactId, service: ServiceDep) -> ArtifactOut:
    """One file: its name, size and sha256."""
    with service.database.read() as session:
        return ArtifactOut.model_validate(checkpoints.artifact(session, artifact_id))


@router.head("/artifacts/{artifact_id}/content", include_in_schema=False)
@router.get("/artifacts/{artifact_id}/content", response_class=Response)
def read_artifact(artifact_id: ArtifactId, request: Request, service: ServiceDep) -> Response:
    """The bytes of a file, whole or by `Range`; the ETag is the sha256."""
    with service.database.read() as session:
        artifact = checkpoints.artifact(session, artifact_id)
    return answer(request, artifact, service.store, immutable=True)


@router.head("/jobs/{job_id}/model", include_in_schema=False)
@router.get("/jobs/{job_id}/model", response_class=Response)
def read_model(
    job_id: JobId,
    request: Request,
    service: ServiceDep,
    format: Literal["safetensors", "config", "modeling"] = "safetensors",
    weights: checkpoints.Weights = "raw",
    statistics: Literal["running", "precise"] = "running",
    checkpoint: Which = "last",
) -> Response:
    """The model of a checkpoint of the job: its weights, its `config.json`, or the code that loads both.

    `weights=ema` has the averages of a job with `ema`. `statistics=precise` has population statistics, of the
    newest recalibration, in place of the running averages. `checkpoint` is the newest, the best by the metric by
    which the job selects, or that of a step.
    """
    _check_precise(statistics, checkpoint)
    with service.database.read() as session:
        job = jobs.get(session, job_id)
        if statistics == "precise" and format == "safetensors":
            artifact = recalibrations.precise_model(session, job, weights)
        else:
            artifact = checkpoints.model(session, job, format, weights, checkpoint)
    return answer(request, artifact, service.store, immutable=False)


def _check_precise(statistics: str, checkpoint: str) -> None:
    if statistics == "precise" and checkpoint != "last":
        message = (
            "Recalibrations are of the newest checkpoint: statistics=precise goes with checkpoint=last alone."
        )
        wrong = FieldError(pointer="?checkpoint", code="not_recalibrated", message=message, allowed=["last"])
        raise ProblemError(422, wrong.code, "The query is not valid", message, errors=[wrong])
