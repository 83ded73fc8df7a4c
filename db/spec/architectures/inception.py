"""The Inception of the batch-normalization paper."""

from typing import Annotated, Literal

from pydantic import Field

from db.spec.architectures.base import ArchitecturePart, Share
from models.blueprint import Blueprint, NormChoice
from models.catalog.names import ActivationName
from models.networks.inception import Form, inception


class Inception(ArchitecturePart):
    """Ten Inception modules with one output."""

    name: Literal["inception"]
    form: Form = "cifar"
    """A stem for images of 32x32 (one convolution with stride 1) or of 224x224 (the paper's)."""
    width: Annotated[float, Field(strict=True, gt=0, le=16)] = 1.0
    """Factor of all channels, which are rounded to multiples of 8."""
    activation: ActivationName = ActivationName.RELU
    dropout: Share = 0.0
    """Probability of dropout before the output."""

    def blueprint(self, input_shape: tuple[int, ...], outputs: int, norm: NormChoice) -> Blueprint:
        return inception(
            input_shape,
            outputs,
            form=self.form,
            width=self.width,
            activation=self.activation,
            dropout=self.dropout,
            norm=norm,
            init=self.init.record(),
        )
