"""The densely connected network."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from db.spec.architectures.base import ArchitecturePart, Share, Width
from db.spec.architectures.depth import wrong_depth
from db.spec.base import Flag
from db.spec.errors import spec_error
from models.blueprint import Blueprint, NormChoice
from models.catalog.names import ActivationName
from models.networks.densenet import Form, densenet, depths, is_imagenet


class Densenet(ArchitecturePart):
    """Dense blocks with transitions between them."""

    name: Literal["densenet"]
    depth: Annotated[int, Field(strict=True, ge=7, le=400)]
    """Layers with weights: 3n+4, or 6n+4 with bottlenecks, in the cifar form; 121 in the imagenet form."""
    form: Form = "auto"
    """For images of 32x32 or of 224x224; auto is imagenet at depth 121."""
    growth: Width | None = None
    """Channels that each layer adds; null for 12 in the cifar form and 32 in the imagenet form."""
    bottleneck: Flag | None = None
    """A 1x1 convolution to four times `growth` channels before each 3x3; null for the imagenet form alone."""
    compression: Annotated[float, Field(strict=True, gt=0, le=1)] | None = None
    """Share of the channels that a transition keeps; null for 0.5 with bottlenecks and 1 without."""
    activation: ActivationName = ActivationName.RELU
    dropout: Share = 0.0
    """Probability of dropout after each convolution but the first."""

    @model_validator(mode="after")
    def _check_depth(self) -> Self:
        imagenet = is_imagenet(self.depth, self.form)
        if imagenet and self.bottleneck is False:
            raise spec_error(
                "bottleneck_needed",
                "/architecture/bottleneck",
                "The imagenet form has bottlenecks. Leave them to it, or choose form 'cifar'.",
                allowed=[True, None],
            )
        bottleneck = imagenet or bool(self.bottleneck)
        known = depths(imagenet=imagenet, bottleneck=bottleneck)
        if self.depth not in known:
            layers = "121" if imagenet else "6n+4" if bottleneck else "3n+4"
            kind = (
                f"the {'imagenet' if imagenet else 'cifar'} form {'with' if bottleneck else 'without'} bottlenecks"
            )
            raise wrong_depth(self.depth, known, f"a dense network of {kind} has {layers} layers")
        return self

    def blueprint(self, input_shape: tuple[int, ...], outputs: int, norm: NormChoice) -> Blueprint:
        return densenet(
            input_shape,
            outputs,
            depth=self.depth,
            form=self.form,
            growth=self.growth,
            bottleneck=self.bottleneck,
            compression=self.compression,
            activation=self.activation,
            dropout=self.dropout,
            norm=norm,
            init=self.init.record(),
        )
