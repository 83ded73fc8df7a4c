"""A few convolutions."""

from typing import Annotated, Literal

from pydantic import Field

from db.spec.architectures.base import ArchitecturePart, Share, Width
from models.blueprint import Blueprint, NormChoice
from models.catalog.names import ActivationName
from models.networks.cnn import cnn


class Cnn(ArchitecturePart):
    """A convolution for each number in `channels`, with 2x2 max pooling between, then a linear output."""

    name: Literal["cnn"]
    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=16)] = (32, 64, 128)
    """Channels of each convolution."""
    kernel: Literal[1, 3, 5, 7] = 3
    """Side of the kernels."""
    activation: ActivationName = ActivationName.RELU
    dropout: Share = 0.0
    """Probability of dropout before the output."""

    def blueprint(self, input_shape: tuple[int, ...], outputs: int, norm: NormChoice) -> Blueprint:
        return cnn(
            input_shape,
            outputs,
            channels=self.channels,
            kernel=self.kernel,
            activation=self.activation,
            dropout=self.dropout,
            norm=norm,
            init=self.init.record(),
        )
