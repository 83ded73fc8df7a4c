"""What all answers share."""

from pydantic import BaseModel, ConfigDict


class Out(BaseModel):
    """A part of an answer, made from a row or a record; the text below a field is its description in OpenAPI."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)
