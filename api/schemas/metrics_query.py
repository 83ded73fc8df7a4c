"""Metric series of many jobs in one answer."""

from typing import Annotated, Self

from pydantic import BaseModel, Field, StringConstraints, model_validator

from api.schemas.records import MetricsOut
from db.cursor import LAST_STEP
from db.spec.base import Part
from db.spec.errors import spec_error

#: That one request may ask for.
MOST_JOBS = 100

Step = Annotated[int, Field(strict=True, ge=0, le=LAST_STEP)]
Text = Annotated[str, StringConstraints(max_length=200)]
AfterCursor = Annotated[str, StringConstraints(max_length=10_000)]


class MetricsQueryIn(Part):
    """Which series of which jobs, as the query of `GET /v1/jobs/{id}/metrics` says it for one."""

    jobs: Annotated[tuple[Text, ...], Field(min_length=1, max_length=MOST_JOBS)]
    """Ids, each once."""
    names: Annotated[tuple[Text, ...], Field(max_length=1000)] = ()
    """Of series; all if there are none."""
    from_step: Step = 0
    to_step: Step = LAST_STEP
    max_points: Annotated[int, Field(strict=True, ge=1, le=10_000)] | None = None
    """Down-sample each series to at most so many points."""
    after: dict[str, AfterCursor] = Field(default_factory=dict)
    """By job, the cursor of an earlier answer; jobs without one are read from `from_step` on."""

    @model_validator(mode="after")
    def _check_jobs(self) -> Self:
        for index, job_id in enumerate(self.jobs):
            if job_id in self.jobs[:index]:
                raise spec_error("repeated", f"/jobs/{index}", "This job is asked for twice.")
        for job_id in self.after:
            if job_id not in self.jobs:
                message = "A cursor of a job that is not asked for."
                raise spec_error(
                    "not_asked_for", after_pointer(job_id), message, allowed=list(self.jobs), given=job_id
                )
        return self


def after_pointer(job_id: str) -> str:
    """Where the cursor of a job stands in the body."""
    return "/after/" + job_id[:100].replace("~", "~0").replace("/", "~1")


class JobMetricsOut(MetricsOut):
    """The series of one job. Read on with `after: {job: cursor}`, at once if there is `more`."""

    job: str


class MetricsQueryOut(BaseModel):
    """One entry for each job, in the order asked."""

    data: list[JobMetricsOut]
