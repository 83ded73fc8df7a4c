"""What the convolutional networks are made of."""

from models.blueprint import NormChoice
from models.catalog.names import ActivationName
from models.kinds.base import Named
from models.kinds.layers import Activation, Conv


def conv_norm_activation(
    number: int,
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    *,
    norm: NormChoice,
    activation: ActivationName,
) -> Named:
    """A convolution with its norm and its activation: `conv1`, `norm1` and `activation1` for number 1.

    The padding keeps the sides where the stride is 1.
    """
    conv = Conv(inputs=inputs, outputs=outputs, kernel=kernel, stride=stride, padding=kernel // 2)
    return (
        (f"conv{number}", conv),
        (f"norm{number}", norm.site(outputs)),
        (f"activation{number}", Activation(activation=activation)),
    )
