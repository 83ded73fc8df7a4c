"""From a blueprint to a module: one small function for each kind."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import nn

from models.blueprint import Activation, Blueprint, Chain, Flatten, Layer, Linear, Norm
from models.catalog import ActivationName
from models.init import initialize
from models.norms.table import make_norm

ACTIVATIONS: dict[ActivationName, Callable[[], nn.Module]] = {
    ActivationName.SIGMOID: nn.Sigmoid,
    ActivationName.TANH: nn.Tanh,
    ActivationName.RELU: nn.ReLU,
    ActivationName.LINEAR: nn.Identity,
}


def _chain(chain: Chain) -> nn.Module:
    return nn.Sequential(OrderedDict((name, build_layer(layer)) for name, layer in chain.layers))


def _linear(linear: Linear) -> nn.Module:
    return nn.Linear(linear.inputs, linear.outputs, bias=linear.bias)


def _norm(norm: Norm) -> nn.Module:
    return make_norm(norm.name, norm.features, **dict(norm.options))


BUILDERS: dict[type, Callable[[Any], nn.Module]] = {
    Flatten: lambda _: nn.Flatten(),
    Linear: _linear,
    Norm: _norm,
    Activation: lambda activation: ACTIVATIONS[activation.name](),
    Chain: _chain,
}


def build_layer(layer: Layer) -> nn.Module:
    """The module of one layer, with torch's own initial weights."""
    return BUILDERS[type(layer)](layer)


def build(blueprint: Blueprint) -> nn.Module:
    """The network: nested modules whose dotted names are the blueprint's.

    Weights are drawn from torch's global generator; seed it for a repeatable network.
    """
    module = build_layer(blueprint.body)
    initialize(module, blueprint.init)
    return module
