"""When a job ends before its last step."""

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from db.spec.base import LARGEST, Count, NonNegativeFloat, Part
from db.spec.errors import spec_error
from db.spec.selection import evaluated_metrics, stopping_metric

if TYPE_CHECKING:
    from db.spec.job import JobSpec


class EarlyStopping(Part):
    """Stop after an evaluation, when a metric is good enough or no longer improves."""

    metric: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """One that an evaluation of the job gives. Null for accuracy, or rmse of a regression, on the validation part,
    or without one on the test data."""
    patience: Count | None = 5
    """Stop after so many evaluations in a row without an improvement; null to wait for the target alone."""
    min_delta: NonNegativeFloat = 0.0
    """An improvement is one by more than this over the best so far."""
    target: Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST)] | None = None
    """Stop as soon as the metric is as good as this; null for no target."""

    @model_validator(mode="after")
    def _check_reason(self) -> Self:
        if self.patience is None and self.target is None:
            raise spec_error(
                "nothing_to_stop_for",
                "/early_stopping/patience",
                "Give patience, a target, or both; to train to the last step, leave early_stopping out.",
                allowed=["patience", "target"],
            )
        return self


def check_early_stopping(spec: "JobSpec") -> None:
    """An evaluation of the job gives the metric."""
    named = spec.early_stopping.metric if spec.early_stopping is not None else None
    if named is None:
        return
    given = list(evaluated_metrics(spec))
    if named not in given:
        raise spec_error(
            "metric_not_evaluated",
            "/early_stopping/metric",
            "No evaluation of this job gives that metric. Choose one that it gives; dataset.validation_fraction, "
            "evaluate.modes and ema add more.",
            allowed=given,
            given=named,
        )


def with_metric(spec: "JobSpec") -> EarlyStopping | None:
    """The job's early stopping with its metric named."""
    selection = stopping_metric(spec)
    if spec.early_stopping is None or selection is None:
        return None
    return spec.early_stopping.model_copy(update={"metric": selection.metric})
