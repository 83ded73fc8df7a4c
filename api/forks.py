"""New jobs from old ones: the checkpoint of one with a changed spec, or the same once more."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import Response
from pydantic import ValidationError
from sqlalchemy.orm import Session

from api.deps import Service
from api.idempotency import Once, is_replay
from api.limits import check_memory
from api.problems import FieldError, ProblemError
from api.schemas.forks import ForkIn
from api.schemas.jobs import JobOut
from api.stored import spec_of
from api.validation import field_errors
from db import jobs, leftovers, origins
from db.errors import FileMissing
from db.ids import new_id
from db.origins import Origin
from db.spec.job import JobSpec
from db.tables import Job

#: Of a norm: what may be another without the weights being those of another network.
FREE_OF_NORM = {"momentum", "eps", "freeze_after"}


def fork(service: Service, once: Once, job_id: str, body: ForkIn) -> Response:
    """Queue a job that goes on from a checkpoint of another.

    Raises:
        NormlabError: there is no such job or checkpoint.
        ProblemError: 422, the overrides give no valid spec, or that of another network; 409, the job's own spec is
            not taken any more.
    """

    def begin(session: Session, job: Job) -> tuple[JobSpec, Origin]:
        origin = origins.of_fork(session, job, str(body.checkpoint))
        return _overridden(_spec(job), body.overrides, origin.told["step"]), origin

    return _create(service, once, job_id, begin)


def reproduce(service: Service, once: Once, job_id: str) -> Response:
    """Queue a job with the resolved spec of one that has succeeded; its end says if its weights are the same.

    Raises:
        NormlabError: there is no such job, or it has not succeeded.
        ProblemError: 409, its spec is not taken any more.
    """

    def begin(session: Session, job: Job) -> tuple[JobSpec, Origin]:
        return _spec(job), origins.of_reproduction(session, job)

    return _create(service, once, job_id, begin)


def _spec(job: Job) -> JobSpec:
    """The job's spec with the name and the labels that it has now."""
    return spec_of(job).model_copy(update={"name": job.name, "labels": job.labels})


def _create(
    service: Service, once: Once, job_id: str, begin: Callable[[Session, Job], tuple[JobSpec, Origin]]
) -> Response:
    if (earlier := once.earlier(service.database)) is not None:
        return earlier
    with service.database.read() as session:
        spec, origin = begin(session, jobs.get(session, job_id))
    check_memory(spec, service.memory_limit_bytes)
    made_id = new_id("job")
    origin = _copied(service, origin, made_id)
    answer = None
    try:
        answer = once.create(
            service.database,
            lambda session: JobOut.of(origins.create(session, made_id, spec, origin)),
            at="/v1/jobs",
            then=lambda job: service.dispatcher.send(job.id),
        )
        return answer
    finally:
        if answer is None or is_replay(answer):
            leftovers.remove(service.database, service.store, origins.keys(origin))


def _copied(service: Service, origin: Origin, job_id: str) -> Origin:
    try:
        return origins.copied(origin, service.store, job_id)
    except FileMissing as error:
        detail = "The checkpoint has just been replaced by a newer one. Ask again."
        raise ProblemError(409, "checkpoint_replaced", "Not possible now", detail) from error


def _overridden(spec: JobSpec, overrides: Mapping[str, Any], step: int) -> JobSpec:
    """The spec with the overrides merged into it (RFC 7396), for a job that goes on after `step`."""
    values = spec.to_json()
    if overrides.get("epochs") is not None:
        values["steps"] = None
    changed = _valid(_merged(values, overrides, is_part=False)).resolved()
    _check_same_network(spec, changed)
    if (changed.steps or 0) <= step:
        message = f"The checkpoint is of step {step}, and so few steps leave nothing to do. Give more."
        _refuse("/overrides/steps", "no_steps_left", message, f"more than {step}")
    if changed.scheduler is not None and _schedule(changed) != _schedule(spec):  # over the steps that are left
        _valid(changed.to_json() | {"steps": (changed.steps or 0) - step})
    return changed


def _schedule(spec: JobSpec) -> tuple[object, ...]:
    """What decides whether a schedule goes on or begins anew."""
    return spec.scheduler, spec.optimizer, spec.precision, spec.steps


def _valid(values: Any) -> JobSpec:
    try:
        return JobSpec.model_validate(values)
    except ValidationError as error:
        raise _not_valid(error) from error


def _not_valid(error: ValidationError) -> ProblemError:
    located = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
    wrong = [
        each.model_copy(update={"pointer": f"/overrides{each.pointer}"})
        for each in field_errors(located, JobSpec.model_json_schema())
    ]
    detail = f"{wrong[0].pointer}: {wrong[0].message}"
    return ProblemError(422, "invalid_spec", "With these overrides the spec is not valid", detail, errors=wrong)


def _merged(target: Any, patch: Any, *, is_part: bool = True) -> Any:
    """A JSON merge patch: null takes a key away, which is here to take its default.

    A part of another name has other fields, so nothing of the old one stays; the job and its labels are no parts.
    """
    if not isinstance(patch, Mapping):
        return patch
    old = target if isinstance(target, Mapping) else {}
    merged = dict(old) if not is_part or patch.get("name", old.get("name")) == old.get("name") else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value, is_part=key != "labels")
    return merged


def _check_same_network(spec: JobSpec, changed: JobSpec) -> None:
    old, new = spec.dataset.info, changed.dataset.info
    same = {
        "/overrides/architecture": spec.architecture == changed.architecture,
        "/overrides/norm": _fixed_of_norm(spec) == _fixed_of_norm(changed),
        "/overrides/dataset": (old.shape, old.outputs, old.task) == (new.shape, new.outputs, new.task),
    }
    for pointer, holds in same.items():
        if not holds:
            message = "The weights of the checkpoint belong to another network. Submit a new job for this one."
            _refuse(pointer, "network_differs", message, "as in the job that is forked")


def _fixed_of_norm(spec: JobSpec) -> dict[str, Any]:
    return {name: value for name, value in spec.norm.model_dump().items() if name not in FREE_OF_NORM}


def _refuse(pointer: str, code: str, message: str, allowed: str) -> None:
    wrong = FieldError(pointer=pointer, code=code, message=message, allowed=allowed)
    raise ProblemError(422, code, "The overrides do not fit", f"{pointer}: {message}", errors=[wrong])
