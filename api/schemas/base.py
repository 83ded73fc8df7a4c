"""What all answers share."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


#: In UTC and always with its fraction, so that timestamps sort as texts.
Timestamp = Annotated[
    datetime,
    PlainSerializer(_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Out(BaseModel):
    """A part of an answer, made from a row or a record; the text below a field is its description in OpenAPI."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)
