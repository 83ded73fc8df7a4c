"""What every part of the spec shares: frozen, unknown keys refused, finite numbers, strict numeric types."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

#: A whole number of at least 1; "60" and 60.0 are refused.
Count = Annotated[int, Field(strict=True, ge=1, le=10**9)]
#: float32 can hold it too.
LARGEST = 1e38
PositiveFloat = Annotated[float, Field(strict=True, gt=0, le=LARGEST)]
NonNegativeFloat = Annotated[float, Field(strict=True, ge=0, le=LARGEST)]
Flag = Annotated[bool, Field(strict=True)]


class Part(BaseModel):
    """A part of the job spec."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
