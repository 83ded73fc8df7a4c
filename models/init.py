"""How weights begin, by the names of `torch.nn.init`."""

from collections.abc import Callable

from torch import Tensor, nn

from models.blueprint import Init
from models.catalog import InitName

SCHEMES: dict[InitName, Callable[[Tensor], object]] = {
    InitName.XAVIER_UNIFORM: nn.init.xavier_uniform_,
    InitName.XAVIER_NORMAL: nn.init.xavier_normal_,
    InitName.KAIMING_UNIFORM: lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"),
    InitName.KAIMING_NORMAL: lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
}


def initialize(module: nn.Module, init: Init) -> None:
    """Draw the weights of every linear layer from torch's global generator, in the order of the layers.

    `default` leaves what torch's own constructors drew; every other scheme sets biases to zero.
    """
    if init.name is InitName.DEFAULT:
        return
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            if init.name is InitName.NORMAL:
                nn.init.normal_(layer.weight, std=init.std or 0.0)
            else:
                SCHEMES[init.name](layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
