"""The network `lenet`: what the catalogue says of it, its options, and the function that returns its blueprint.

Free of torch, as the API is: normlab makes the module from the blueprint.
"""

from typing import Literal

from db.spec.architectures.base import ArchitecturePart, Width
from models.blueprint import Blueprint, Init, NormChoice, chain
from models.catalog.names import ActivationName, NormName, Position
from models.catalog.records import ArchitectureInfo, ArchitecturePlugin
from models.kinds.base import Layer
from models.kinds.layers import Activation, Conv, Flatten, Linear, Pool
from models.placement import OUTPUT, place


def lenet(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    channels: tuple[int, int] = (6, 16),
    hidden: tuple[int, int] = (120, 84),
    activation: ActivationName = ActivationName.TANH,
    norm: NormChoice,
    init: Init,
) -> Blueprint:
    """LeNet-5: two 5x5 convolutions, each with 2x2 average pooling, then two hidden linear layers.

    LeCun et al. 1998 (Gradient-based learning applied to document recognition), section II.B and figure 2. As
    usual since, every map of the second convolution sees all maps before it, poolings have no weights and the
    output is linear. The first convolution pads its input by 2, as the paper does with 28x28 images; a norm stands
    before each hidden activation. Images of less than 12x12 are too small for it.
    """
    inputs, height, width = input_shape
    sides = [(side // 2 - 4) // 2 for side in (height, width)]

    def block(number: int, layer: Layer, features: int) -> tuple[tuple[str, Layer], ...]:
        name = "conv" if isinstance(layer, Conv) else "linear"
        return (
            (f"{name}{number}", layer),
            (f"norm{number}", norm.site(features)),
            (f"activation{number}", Activation(activation=activation)),
        )

    pool = Pool(pool="avg", kernel=2, stride=2)
    body = chain(
        *block(1, Conv(inputs=inputs, outputs=channels[0], kernel=5, padding=2), channels[0]),
        ("pool1", pool),
        *block(2, Conv(inputs=channels[0], outputs=channels[1], kernel=5), channels[1]),
        ("pool2", pool),
        ("flatten", Flatten()),
        *block(3, Linear(inputs=channels[1] * sides[0] * sides[1], outputs=hidden[0]), hidden[0]),
        *block(4, Linear(inputs=hidden[0], outputs=hidden[1]), hidden[1]),
        (OUTPUT, Linear(inputs=hidden[1], outputs=outputs)),
    )
    return Blueprint(
        architecture="lenet", input_shape=input_shape, outputs=outputs, init=init, body=place(body, norm)
    )


class LeNet(ArchitecturePart):
    """Two convolutions and two hidden linear layers."""

    name: Literal["lenet"]
    channels: tuple[Width, Width] = (6, 16)
    """Channels of the convolutions."""
    hidden: tuple[Width, Width] = (120, 84)
    """Units of the hidden linear layers."""
    activation: ActivationName = ActivationName.TANH

    def blueprint(self, input_shape: tuple[int, ...], outputs: int, norm: NormChoice) -> Blueprint:
        return lenet(
            input_shape,
            outputs,
            channels=self.channels,
            hidden=self.hidden,
            activation=self.activation,
            norm=norm,
            init=self.init.record(),
        )


PLUGIN = ArchitecturePlugin(
    info=ArchitectureInfo(
        name="lenet",
        summary="LeNet-5: two convolutions, each with average pooling, and two hidden linear layers.",
        reference="LeCun et al. 1998, Gradient-based learning applied to document recognition, section II.B",
        # Those of other packages, this one's too, say themselves that they go with it.
        norms=tuple(
            name.value for name in (NormName.NONE, NormName.BATCH, NormName.LAYER, NormName.RMS, NormName.GROUP)
        ),
        positions=(Position.BEFORE_ACTIVATION, Position.AFTER_ACTIVATION),
    ),
    spec=LeNet,
)
