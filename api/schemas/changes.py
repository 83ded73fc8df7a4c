"""What a client may change of a job."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from db.jobs import MOST_PRIORITY
from db.spec.base import Part
from db.spec.errors import spec_error
from db.spec.job import LabelKey, LabelValue, Name


def without_default(schema: dict[str, Any]) -> None:
    """What is left out is not changed: a client that fills defaults in must not find any."""
    schema.pop("default", None)


class JobChange(Part):
    """The new values; what is left out stays as it is."""

    name: Name | None = None
    """Null takes the name away."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=64)] = Field(default_factory=dict)
    """All of them: labels that are left out are gone."""
    priority: Annotated[
        int, Field(strict=True, ge=-MOST_PRIORITY, le=MOST_PRIORITY, json_schema_extra=without_default)
    ] = 0
    """Of whatever claim comes next, also after a pause, a retry or a lost worker."""

    @model_validator(mode="after")
    def _check_not_empty(self) -> Self:
        if not self.model_fields_set:
            raise spec_error(
                "nothing_to_change",
                "",
                "Give at least one field to change.",
                allowed=list(type(self).model_fields),
            )
        return self
