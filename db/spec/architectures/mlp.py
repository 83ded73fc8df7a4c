"""The fully connected network."""

from typing import Annotated, Literal

from pydantic import Field

from db.spec.architectures.base import ArchitecturePart, Share, Width
from models.blueprint import Blueprint, NormChoice
from models.catalog.names import ActivationName
from models.networks.mlp import mlp


class Mlp(ArchitecturePart):
    """Fully connected layers of the sizes in `hidden`, then a linear output."""

    name: Literal["mlp"]
    hidden: Annotated[tuple[Width, ...], Field(min_length=1, max_length=256)]
    """Units of each hidden layer."""
    activation: ActivationName = ActivationName.RELU
    dropout: Share = 0.0
    """Probability of dropout after each hidden layer."""

    def blueprint(self, input_shape: tuple[int, ...], outputs: int, norm: NormChoice) -> Blueprint:
        return mlp(
            input_shape,
            outputs,
            hidden=self.hidden,
            activation=self.activation,
            dropout=self.dropout,
            norm=norm,
            init=self.init.record(),
        )
