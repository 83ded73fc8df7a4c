"""LSTM and GRU."""

from typing import Annotated, Literal

from pydantic import Field

from db.spec.architectures.base import ArchitecturePart, Share, Width
from db.spec.base import NonNegativeFloat, PositiveFloat
from db.spec.errors import spec_error
from models.blueprint import Blueprint, NormChoice
from models.networks.recurrent import Cell, recurrent


class RecurrentPart(ArchitecturePart):
    """Recurrent layers over the rows of an image, then a linear output from the last time step."""

    name: Cell
    hidden: Annotated[tuple[Width, ...], Field(min_length=1, max_length=4)] = (128,)
    """Units of each layer."""
    dropout: Share = 0.0
    """Probability of dropout between layers."""
    gamma: PositiveFloat = 0.1
    """What the scales of batch norm in the cell begin at, if it has any (affine); other norms ignore it."""
    noise: NonNegativeFloat = 0.1
    """Standard deviation of the noise that the hidden state begins with where batch norm uses the batch. With 0,
    time steps at which all samples are alike (the first rows of MNIST) drown gradients in rounding errors."""

    def blueprint(self, input_shape: tuple[int, ...], outputs: int, norm: NormChoice) -> Blueprint:
        if dict(norm.options).get("track") is False:
            raise spec_error(
                "norm_not_tracked",
                "/norm/track",
                f"Batch norm inside '{self.name}' has statistics of each time step, and eval mode needs their "
                "running averages. Leave out track.",
                allowed=[True],
            )
        return recurrent(
            input_shape,
            outputs,
            cell=self.name,
            hidden=self.hidden,
            dropout=self.dropout,
            gamma=self.gamma,
            noise=self.noise,
            norm=norm,
            init=self.init.record(),
        )


class Lstm(RecurrentPart):
    """LSTM layers over the rows of an image, then a linear output from the last time step."""

    name: Literal["lstm"]


class Gru(RecurrentPart):
    """GRU layers over the rows of an image, then a linear output from the last time step."""

    name: Literal["gru"]
