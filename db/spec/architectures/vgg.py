"""The stacks of 3x3 convolutions."""

from typing import Literal

from db.spec.architectures.base import ArchitecturePart, Share, Width
from models.blueprint import Blueprint, NormChoice
from models.catalog.names import ActivationName
from models.networks.vgg import Form, vgg


class Vgg(ArchitecturePart):
    """Five stacks of 3x3 convolutions, each with a 2x2 max pooling."""

    name: Literal["vgg"]
    depth: Literal[11, 13, 16, 19]
    """Layers with weights, as the paper counts them; the cifar form has two linear layers less."""
    form: Form = "cifar"
    """One linear layer on the mean over all positions, or the paper's three on all values."""
    width: Width = 64
    """Channels of the first stack; the others have 2, 4, 8 and 8 times as many."""
    activation: ActivationName = ActivationName.RELU
    dropout: Share | None = None
    """Probability of dropout before the output or, in the imagenet form, after both linear layers before it; null
    for 0 and 0.5."""

    def blueprint(self, input_shape: tuple[int, ...], outputs: int, norm: NormChoice) -> Blueprint:
        return vgg(
            input_shape,
            outputs,
            depth=self.depth,
            form=self.form,
            width=self.width,
            activation=self.activation,
            dropout=self.dropout,
            norm=norm,
            init=self.init.record(),
        )
