"""From a blueprint to a module: one small function for each kind."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import nn

from models import cells, layers
from models.blueprint import Blueprint
from models.catalog.names import ActivationName
from models.init import initialize
from models.kinds import containers, sequences
from models.kinds import layers as plain
from models.kinds.base import Layer, Named, dotted
from models.norms.table import make_norm
from models.weights import parametrize_weight

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    ActivationName.SIGMOID: nn.Sigmoid,
    ActivationName.TANH: nn.Tanh,
    ActivationName.RELU: nn.ReLU,
    ActivationName.GELU: nn.GELU,
    ActivationName.SILU: nn.SiLU,
    ActivationName.LINEAR: nn.Identity,
}


def build(blueprint: Blueprint) -> nn.Module:
    """The network: nested modules whose dotted names are the blueprint's.

    Weights are drawn from torch's global generator; seed it for a repeatable network.
    """
    module = build_layer(blueprint.body)
    initialize(module, blueprint.init)
    # Only now: from here on the weights are computed and cannot be drawn.
    for name, layer in weighted_layers("", blueprint.body):
        if layer.weight is not None:
            parametrize_weight(module.get_submodule(name), layer.weight)
    return module


def build_layer(layer: Layer) -> nn.Module:
    """The module of one layer, with the initial weights of its constructor."""
    return BUILDERS[type(layer)](layer)


def weighted_layers(name: str, layer: Layer) -> Iterator[tuple[str, plain.Linear | plain.Conv]]:
    """Linear layers and convolutions with their dotted names, in order."""
    if isinstance(layer, plain.Linear | plain.Conv):
        yield name, layer
    for own_name, inner in _children(layer):
        yield from weighted_layers(dotted(name, own_name), inner)


def _children(layer: Layer) -> Named:
    match layer:
        case containers.Chain(layers=inner) | containers.Dense(branch=containers.Chain(layers=inner)):
            return inner
        case containers.Residual(branch=branch, shortcut=shortcut):
            return (*branch.layers, ("shortcut", shortcut))
        case containers.Concat(branches=branches):
            return branches
        case _:
            return ()


def _named(named: Iterable[tuple[str, Layer]]) -> OrderedDict[str, nn.Module]:
    return OrderedDict((name, build_layer(layer)) for name, layer in named)


def _residual(layer: containers.Residual) -> nn.Module:
    branch, shortcut = _named(layer.branch.layers), build_layer(layer.shortcut)
    return layers.Residual(branch, shortcut, skip_init=layer.skip_init)


def _conv(layer: plain.Conv) -> nn.Module:
    return nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.padding, bias=layer.bias)


def _pool(layer: plain.Pool) -> nn.Module:
    pool = nn.MaxPool2d if layer.pool == "max" else nn.AvgPool2d
    return pool(layer.kernel, layer.stride, layer.padding, ceil_mode=layer.ceil)


def _norm(layer: plain.Norm) -> nn.Module:
    norm = make_norm(layer.norm, layer.features, **dict(layer.options))
    return layers.TokenNorm(norm) if layer.tokens else norm


def _norm_activation(layer: plain.NormActivation) -> nn.Module:
    return make_norm(layer.norm, layer.features, activation=True, **dict(layer.options))


def _recurrent(layer: sequences.Recurrent) -> nn.Module:
    cell = cells.LSTM if layer.cell == "lstm" else cells.GRU
    return cell(inputs=layer.inputs, units=layer.units, norms=_named(layer.norms), noise=layer.noise)


BUILDERS: dict[type[Layer], Callable[[Any], nn.Module]] = {
    containers.Chain: lambda layer: nn.Sequential(_named(layer.layers)),
    containers.Residual: _residual,
    containers.Dense: lambda layer: layers.Dense(_named(layer.branch.layers)),
    containers.Concat: lambda layer: layers.Concat(_named(layer.branches)),
    plain.Flatten: lambda layer: nn.Flatten(),
    plain.Linear: lambda layer: nn.Linear(layer.inputs, layer.outputs, bias=layer.bias),
    plain.Conv: _conv,
    plain.Pool: _pool,
    plain.GlobalPool: lambda layer: layers.GlobalPool(layer.pool),
    plain.Activation: lambda layer: ACTIVATIONS[layer.activation](),
    plain.Dropout: lambda layer: nn.Dropout(layer.p),
    plain.Norm: _norm,
    plain.NormActivation: _norm_activation,
    plain.ZeroPad: lambda layer: layers.ZeroPad(stride=layer.stride, more=layer.outputs - layer.inputs),
    sequences.Rows: lambda layer: layers.Rows(),
    sequences.Recurrent: _recurrent,
    sequences.LastStep: lambda layer: layers.LastStep(),
    sequences.Patchify: lambda layer: layers.Patchify(
        inputs=layer.inputs, features=layer.features, patch=layer.patch
    ),
    sequences.PositionalEmbedding: lambda layer: layers.PositionalEmbedding(
        tokens=layer.tokens, features=layer.features
    ),
    sequences.Attention: lambda layer: layers.Attention(
        features=layer.features, heads=layer.heads, dropout=layer.dropout
    ),
    sequences.MeanToken: lambda layer: layers.MeanToken(),
}
