"""From a client's wish for population statistics to a pending file that a worker makes."""

from fastapi import Response
from sqlalchemy.orm import Session

from api.deps import Service
from api.idempotency import Once, is_replay
from api.inputs import read_inputs, to_file
from api.problems import FieldError, ProblemError
from api.schemas.artifacts import ArtifactOut
from api.schemas.recalibrations import RecalibrationIn
from api.stored import spec_of
from db import jobs, leftovers, recalibrations
from db.ids import new_id
from db.recalibrations import ClientInputs
from db.spec.job import JobSpec
from db.spec.recalibration import LEAST_SAMPLES, Recalibration, own_samples
from models.memory import eval_batch
from models.shapes import largest_output


def order(service: Service, once: Once, job_id: str, body: RecalibrationIn) -> Response:
    """Check the wish and store it; the answer is the pending file.

    Raises:
        NormlabError: the job, or what it left, cannot be recalibrated; `recalibrations.check` says when.
        ProblemError: 422, the body does not fit the job; 409, the job's spec is not taken any more.
    """
    if (earlier := once.earlier(service.database)) is not None:
        return earlier
    request = body.request()
    with service.database.read() as session:
        job = jobs.get(session, job_id)
        spec = spec_of(job)
        recalibrations.check(session, job, spec, request)
    _check_batch(request.batch_size, spec)
    _check_samples(request, spec)
    inputs = _keep_inputs(service, body, spec)
    answer = None

    def make(session: Session) -> ArtifactOut:
        return ArtifactOut.model_validate(recalibrations.create(session, job_id, request, inputs))

    try:
        answer = once.create(service.database, make, at="/v1/artifacts", status=202)
        return answer
    finally:
        if inputs is not None and (answer is None or is_replay(answer)):
            leftovers.remove(service.database, service.store, [inputs.key])


def _check_batch(batch_size: int | None, spec: JobSpec) -> None:
    """Refuse a batch that neither training nor evaluation has shown to fit the memory."""
    most = max(spec.batch_size, eval_batch(largest_output(spec.blueprint())))
    if batch_size is not None and batch_size > most:
        message = f"A batch of {batch_size} may not fit the memory: neither training nor evaluation takes so many."
        wrong = FieldError(pointer="/batch_size", code="batch_too_large", message=message, allowed=f"2 to {most}")
        raise ProblemError(422, wrong.code, "The batch is too large", f"/batch_size: {message}", errors=[wrong])


def _check_samples(request: Recalibration, spec: JobSpec) -> None:
    """Refuse data that have no variance; how many inputs a body has, its schema checks."""
    source, own = request.data.source, own_samples(spec)
    if own.get(source, LEAST_SAMPLES) < LEAST_SAMPLES:
        allowed = [*(name for name, samples in own.items() if samples >= LEAST_SAMPLES), "inputs"]
        message = f"The job's dataset.{source}_limit leaves one sample, which has no variance."
        wrong = FieldError(pointer="/data/source", code="one_sample", message=message, allowed=allowed)
        raise ProblemError(
            422, wrong.code, "There are too few samples", f"/data/source: {message}", errors=[wrong]
        )


def _keep_inputs(service: Service, body: RecalibrationIn, spec: JobSpec) -> ClientInputs | None:
    """Put the inputs of the body into the store, for the worker."""
    if body.data.inputs is None:
        return None
    array = read_inputs(body.data.inputs, spec.dataset.info, "/data/inputs")
    stored = service.store.put(f"inputs/{new_id('in')}.npy", to_file(array))
    return ClientInputs(key=stored.key, samples=len(array))
