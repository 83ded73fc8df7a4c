"""What a fork may be asked for."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from db.spec.errors import spec_error


class ForkIn(BaseModel):
    """A checkpoint to go on from, and what the new job's spec has otherwise."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    checkpoint: str | int = "last"
    """`last`, `best` by the metric that the job selects by, or the step of one that is kept."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Merged into the resolved spec of the job (RFC 7396); null takes a field back to its default. Architecture
    and norm stay what they are. A part that is changed begins anew; the optimizer keeps its moments if it stays
    the same one."""

    @field_validator("checkpoint", mode="before")
    @classmethod
    def _check_checkpoint(cls, value: Any) -> Any:
        if value in ("last", "best") or (type(value) is int and value >= 0):
            return value
        raise spec_error(
            "no_such_checkpoint",
            "/checkpoint",
            "The newest, the best, or one of a step is taken.",
            allowed=["last", "best", "a step"],
            given=value,
        )
