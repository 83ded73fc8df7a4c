"""The layers that a spec may declare, each with its options."""

from typing import Annotated, Literal

from pydantic import Field

from db.spec.architectures.base import Share, Width
from db.spec.base import Flag, Part
from models.catalog.names import ActivationName
from models.kinds import containers, layers
from models.kinds.base import Layer
from models.networks.sequential import INFERRED, SITE, declared

#: Side of a window, or how far it moves.
Side = Annotated[int, Field(strict=True, ge=1, le=1024)]
Padding = Annotated[int, Field(strict=True, ge=0, le=1024)]


class LayerPart(Part):
    """A declared layer."""

    def record(self) -> Layer:
        """As a blueprint has it, with what follows from the layers before it left open."""
        raise NotImplementedError


class LinearLayer(LayerPart):
    """A fully connected layer. It takes vectors: flatten or pool an image before it."""

    name: Literal["linear"]
    units: Width
    """How many numbers it gives; the last layer's are the outputs of the data."""
    bias: Flag = True
    """Add a learned number to each output; before a norm that subtracts each channel's mean it is left out."""

    def record(self) -> Layer:
        return layers.Linear(inputs=INFERRED, outputs=self.units, bias=self.bias)


class ConvLayer(LayerPart):
    """A convolution with square kernels."""

    name: Literal["conv"]
    channels: Width
    """How many maps it gives."""
    kernel: Side
    """Side of the kernel."""
    stride: Side = 1
    """How far the kernel moves."""
    padding: Padding | None = 0
    """Zeros on each side; null for half the kernel, which keeps the size of the maps at stride 1."""
    bias: Flag = True
    """Add a learned number to each map; before a norm that subtracts each channel's mean it is left out."""

    def record(self) -> Layer:
        return layers.Conv(
            inputs=INFERRED,
            outputs=self.channels,
            kernel=self.kernel,
            stride=self.stride,
            padding=self.kernel // 2 if self.padding is None else self.padding,
            bias=self.bias,
        )


class PoolLayer(LayerPart):
    """The largest value or the mean of square windows, or of whole maps."""

    name: Literal["pool"]
    pool: Literal["max", "avg"]
    kernel: Side | None = None
    """Side of the window; null for the whole map, of which one number is left."""
    stride: Side | None = None
    """How far the window moves; null for its side."""
    padding: Padding = 0
    """What is added on each side, at most half the window."""

    def record(self) -> Layer:
        if self.kernel is None:
            return layers.GlobalPool(pool=self.pool)
        return layers.Pool(
            pool=self.pool, kernel=self.kernel, stride=self.stride or self.kernel, padding=self.padding
        )


class ActivationLayer(LayerPart):
    """An activation."""

    name: Literal["activation"]
    activation: ActivationName = ActivationName.RELU

    def record(self) -> Layer:
        return layers.Activation(activation=self.activation)


class NormLayer(LayerPart):
    """A site of the job's norm."""

    name: Literal["norm"]

    def record(self) -> Layer:
        return SITE


class DropoutLayer(LayerPart):
    """Dropout."""

    name: Literal["dropout"]
    p: Share = 0.5
    """Probability that a value is set to 0 in train mode."""

    def record(self) -> Layer:
        return layers.Dropout(p=self.p)


class FlattenLayer(LayerPart):
    """All values of a sample as one vector."""

    name: Literal["flatten"]

    def record(self) -> Layer:
        return layers.Flatten()


class ResidualLayer(LayerPart):
    """The sum of a branch and a shortcut, which give the same shape."""

    name: Literal["residual"]
    layers: tuple["DeclaredLayer", ...]
    """The branch."""
    shortcut: tuple["DeclaredLayer", ...] = ()
    """Empty for the input itself."""

    def record(self) -> Layer:
        return containers.Residual(
            branch=declared([layer.record() for layer in self.layers]),
            shortcut=declared([layer.record() for layer in self.shortcut]),
        )


DeclaredLayer = Annotated[
    LinearLayer
    | ConvLayer
    | PoolLayer
    | ActivationLayer
    | NormLayer
    | DropoutLayer
    | FlattenLayer
    | ResidualLayer,
    Field(discriminator="name"),
]
