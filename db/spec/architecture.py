"""Which network a job trains."""

from typing import Annotated, Literal

from pydantic import Field

from db.spec.base import Count, Part, PositiveFloat
from models.catalog import ActivationName, InitName


class NormalInit(Part):
    """Weights from a normal distribution of mean 0, biases 0."""

    name: Literal[InitName.NORMAL]
    std: PositiveFloat


class NamedInit(Part):
    """A scheme of `torch.nn.init` with its default arguments and biases 0; `default` is torch's own."""

    name: Literal[
        InitName.DEFAULT,
        InitName.XAVIER_UNIFORM,
        InitName.XAVIER_NORMAL,
        InitName.KAIMING_UNIFORM,
        InitName.KAIMING_NORMAL,
    ] = InitName.DEFAULT


Init = Annotated[NormalInit | NamedInit, Field(discriminator="name")]


class Mlp(Part):
    """Fully connected layers of the sizes in `hidden`, then a linear output."""

    name: Literal["mlp"]
    hidden: Annotated[tuple[Annotated[Count, Field(le=65_536)], ...], Field(min_length=1, max_length=256)]
    """Units of each hidden layer."""
    activation: ActivationName = ActivationName.RELU
    init: Init = NamedInit()


Architecture = Mlp
