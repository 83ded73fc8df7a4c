"""The residual network."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from db.spec.architectures.base import ArchitecturePart, Width
from db.spec.architectures.depth import wrong_depth
from models.blueprint import Blueprint, NormChoice
from models.catalog.names import ActivationName
from models.networks.resnet import Form, Shortcut, depths, resnet

_RULES = {
    "auto": "a residual network has 18, 34, 50 or 6n+2 layers",
    "cifar": "a residual network of the cifar form has 6n+2 layers",
    "imagenet": "a residual network of the imagenet form has 18, 34 or 50 layers",
}


class Resnet(ArchitecturePart):
    """Stages of residual blocks."""

    name: Literal["resnet"]
    depth: Annotated[int, Field(strict=True, ge=8, le=1202)]
    """Layers with weights: 6n+2 in the cifar form; 18, 34 or 50 in the imagenet form."""
    form: Form = "auto"
    """For images of 32x32 or of 224x224; auto is imagenet at depths 18, 34 and 50."""
    shortcut: Shortcut = "auto"
    """Where a block changes the shape: zeros for new channels (option A), or a 1x1 convolution (option B); auto
    for A in the cifar form and B in the imagenet form."""
    width: Width | None = None
    """Channels of the first stage, doubled in each other one; null for 16 in the cifar form and 64 in the
    imagenet form."""
    activation: ActivationName = ActivationName.RELU

    @model_validator(mode="after")
    def _check_depth(self) -> Self:
        known = depths(self.form)
        if self.depth not in known:
            raise wrong_depth(self.depth, known, _RULES[self.form])
        return self

    def blueprint(self, input_shape: tuple[int, ...], outputs: int, norm: NormChoice) -> Blueprint:
        return resnet(
            input_shape,
            outputs,
            depth=self.depth,
            form=self.form,
            shortcut=self.shortcut,
            width=self.width,
            activation=self.activation,
            norm=norm,
            init=self.init.record(),
        )
