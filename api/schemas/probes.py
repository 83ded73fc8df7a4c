"""What a probe measured, as clients see it. This describes the answer; the answer itself is made as bytes."""

from pydantic import BaseModel, JsonValue

from api.schemas.records import Number


class ProbeOut(BaseModel):
    """The measurements of one probe as columns. Read on with `after=cursor`, at once if there is `more`."""

    name: str
    options: dict[str, JsonValue]
    """Those of the job's spec."""
    step: list[int]
    values: dict[str, list[Number]]
    """Of the whole network; `seconds` is what a measurement took."""
    layers: dict[str, dict[str, list[Number]]]
    """Of layers or sites, by their names."""
    cursor: str
    more: bool
    rewound_to: int | None = None
    """A newer attempt went back to this step: drop what lies beyond it."""
