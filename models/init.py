"""How weights begin, by the names of `torch.nn.init`."""

from collections.abc import Callable, Iterator

from torch import Tensor, nn

from models.blueprint import Init
from models.catalog.names import InitName
from models.cells import RecurrentLayer

SCHEMES: dict[InitName, Callable[[Tensor], object]] = {
    InitName.ORTHOGONAL: nn.init.orthogonal_,
    InitName.XAVIER_UNIFORM: nn.init.xavier_uniform_,
    InitName.XAVIER_NORMAL: nn.init.xavier_normal_,
    InitName.KAIMING_UNIFORM: lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"),
    InitName.KAIMING_NORMAL: lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
}


def initialize(module: nn.Module, init: Init) -> None:
    """Draw all weight matrices from torch's global generator, in the order of the layers.

    `default` leaves what the constructors drew; every other scheme sets biases to zero. The gates of a recurrent
    layer are drawn one by one: each is a matrix of its own.
    """
    if init.name is InitName.DEFAULT:
        return
    draw = _scheme(init)
    for weight, bias in _weights(module):
        draw(weight)
        if bias is not None:
            nn.init.zeros_(bias)


def _scheme(init: Init) -> Callable[[Tensor], object]:
    std = init.std or 0.0
    if init.name is InitName.NORMAL:
        return lambda weight: nn.init.normal_(weight, std=std)
    if init.name is InitName.TRUNC_NORMAL:
        return lambda weight: nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
    return SCHEMES[init.name]


def _weights(module: nn.Module) -> Iterator[tuple[Tensor, Tensor | None]]:
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            yield layer.weight, layer.bias
        elif isinstance(layer, RecurrentLayer):
            for matrix in (layer.weight_input, layer.weight_hidden):
                for gate in matrix.detach().split(layer.units):
                    yield gate, layer.bias
