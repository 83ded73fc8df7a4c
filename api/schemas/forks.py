"""What a fork may be asked for."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class ForkIn(BaseModel):
    """A checkpoint to go on from, and what the new job's spec has otherwise."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    checkpoint: Literal["last", "best"] | Annotated[int, Field(strict=True, ge=0)] = "last"
    """Or that of a step."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Merged into the resolved spec of the job (RFC 7396); null takes a field back to its default. Architecture
    and norm stay what they are. A part that is changed begins anew; the optimizer keeps its moments if it stays
    the same one."""
