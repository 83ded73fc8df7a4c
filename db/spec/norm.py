"""Which normalization a job uses."""

from typing import Annotated, Literal

from pydantic import Field

from db.spec.base import Flag, Part, PositiveFloat
from models.blueprint import Norm as NormLayer
from models.catalog import NormName, Position


class NoNorm(Part):
    """No normalization."""

    name: Literal[NormName.NONE] = NormName.NONE

    def layer(self, features: int) -> NormLayer:
        """The site for `features` channels."""
        return NormLayer(name=self.name, features=features)


class BatchNorm(Part):
    """Batch normalization."""

    name: Literal[NormName.BATCH]
    momentum: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.1
    """Weight of the newest batch in the running averages (torch's convention, not Keras's)."""
    eps: PositiveFloat = 1e-5
    affine: Flag = True
    position: Position = Position.AUTO

    def layer(self, features: int) -> NormLayer:
        """The site for `features` channels."""
        options = (("momentum", self.momentum), ("eps", self.eps), ("affine", self.affine))
        return NormLayer(name=self.name, features=features, options=options)


Norm = Annotated[NoNorm | BatchNorm, Field(discriminator="name")]
