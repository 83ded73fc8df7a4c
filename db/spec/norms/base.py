"""What the part of every norm has."""

from typing import Annotated, ClassVar

from pydantic import Field

from db.spec.base import Count, Flag, Part, PositiveFloat
from models.blueprint import NormChoice
from models.catalog.names import Position
from models.kinds.base import Options

#: Weight of the newest batch in the running averages.
Momentum = Annotated[float, Field(strict=True, gt=0, le=1)]
Groups = Annotated[int, Field(strict=True, ge=1, le=65_536)]


class NormPart(Part):
    """A norm. Its fields but for `NOT_OPTIONS` are the keyword arguments of its layer."""

    NOT_OPTIONS: ClassVar[frozenset[str]] = frozenset({"name", "position", "freeze_after"})

    name: str

    def choice(self, updates: int) -> NormChoice:
        """The norm of a network that is trained on `updates` batches."""
        position = getattr(self, "position", Position.AUTO)
        return NormChoice(name=str(self.name), options=self.options(updates), position=position)

    def options(self, updates: int) -> Options:
        """Keyword arguments of the layer, which may depend on the length of the job."""
        return tuple(
            (field, getattr(self, field)) for field in type(self).model_fields if field not in self.NOT_OPTIONS
        )


class PlacedNorm(NormPart):
    """A norm that has layers at the sites of a network."""

    position: Position = Position.AUTO
    """Where it stands; auto for the network's own convention."""


class AffineNorm(PlacedNorm):
    """A norm with a scale and a shift."""

    eps: PositiveFloat = 1e-5
    """Added to the variance."""
    affine: Flag = True
    """Learn a scale and a shift for each channel."""


class BatchNormPart(AffineNorm):
    """A norm that keeps running averages."""

    momentum: Momentum | None = 0.1
    """Weight of the newest batch in the running averages (torch's convention, not Keras's); null weighs every
    batch the same."""
    freeze_after: Count | None = None
    """After so many optimizer steps train mode normalizes by the running averages too, and these, scale and shift
    stay as they are; null for never."""
