"""What the part of every network has."""

from typing import Annotated, Literal

from pydantic import Field

from db.spec.base import Part, PositiveFloat
from models import blueprint
from models.blueprint import Blueprint, NormChoice
from models.catalog.names import InitName

Share = Annotated[float, Field(strict=True, ge=0, lt=1)]
#: Units or channels of one layer.
Width = Annotated[int, Field(strict=True, ge=1, le=65_536)]


class NormalInit(Part):
    """Weights from a normal distribution of mean 0 (`trunc_normal`: cut at two deviations), biases 0."""

    name: Literal[InitName.NORMAL, InitName.TRUNC_NORMAL]
    std: PositiveFloat
    """Standard deviation."""

    def record(self) -> blueprint.Init:
        """As a blueprint has it."""
        return blueprint.Init(name=self.name, std=self.std)


class NamedInit(Part):
    """A scheme of `torch.nn.init` with its default arguments and biases 0; `default` is torch's own."""

    name: Literal[
        InitName.DEFAULT,
        InitName.ORTHOGONAL,
        InitName.XAVIER_UNIFORM,
        InitName.XAVIER_NORMAL,
        InitName.KAIMING_UNIFORM,
        InitName.KAIMING_NORMAL,
    ] = InitName.DEFAULT

    def record(self) -> blueprint.Init:
        """As a blueprint has it."""
        return blueprint.Init(name=self.name)


Init = Annotated[NormalInit | NamedInit, Field(discriminator="name")]


class ArchitecturePart(Part):
    """A network."""

    name: str
    init: Init = NamedInit()
    """How the weights begin."""

    def blueprint(self, input_shape: tuple[int, ...], outputs: int, norm: NormChoice) -> Blueprint:
        """The network for samples of `input_shape`.

        Raises:
            PydanticCustomError: an option does not go with the data or with another option.
        """
        raise NotImplementedError

    def pointer(self, layer: str) -> str:
        """The JSON pointer of the field that a layer of the network comes from."""
        return "/architecture"
