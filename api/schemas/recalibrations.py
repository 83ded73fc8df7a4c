"""What a client posts to have a model recalibrated."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from db.spec.errors import spec_error
from db.spec.recalibration import Recalibration, RecalibrationData


class RecalibrationDataIn(RecalibrationData):
    """The inputs that the statistics are taken from, brought along or named."""

    inputs: Annotated[list[Any], Field(min_length=2)] | None = None
    """With source inputs: unlabelled samples as nested lists of raw values, (N, channels, height, width) in the
    data set's own shape and range; they are prepared as the job prepares its data."""

    @model_validator(mode="after")
    def _check_inputs(self) -> Self:
        if (self.source == "inputs") == (self.inputs is not None):
            return self
        if self.inputs is None:
            raise spec_error("missing", "/data/inputs", "With source 'inputs' the samples are given here.")
        message = "Inputs are read with source 'inputs' alone."
        raise spec_error("not_with_source", "/data/source", message, allowed=["inputs"])


class RecalibrationIn(Recalibration):
    """What is to be estimated anew, and from what."""

    data: RecalibrationDataIn = RecalibrationDataIn()

    def request(self) -> Recalibration:
        """The same without the inputs, which are too large for a row."""
        return Recalibration.model_validate(self.model_dump(exclude={"data": {"inputs"}}))
