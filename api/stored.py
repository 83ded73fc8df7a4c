"""Specs of jobs that were submitted to an earlier installation."""

from pydantic import ValidationError

from api.problems import ProblemError
from db.spec.job import JobSpec
from db.tables import Job


def spec_of(job: Job) -> JobSpec:
    """The job's spec, resolved.

    Raises:
        ProblemError: 409, it is of an earlier installation and not taken any more.
    """
    try:
        return JobSpec.model_validate(job.resolved)
    except ValidationError as error:
        raise not_taken_any_more(error) from error


def not_taken_any_more(error: ValidationError) -> ProblemError:
    """The answer where a job's stored spec is not valid here, for what follows from its network."""
    reason = error.errors(include_url=False, include_input=False)[0]["msg"]
    return ProblemError(
        409,
        "spec_not_taken_any_more",
        "The job's spec is not taken any more",
        f"What is asked for follows from a spec that this installation does not take: {reason} Install the "
        "packages that it was submitted with.",
    )
