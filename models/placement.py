"""Rewrites of a network that follow from its norm: where it stands, what it replaces, which biases it absorbs.

Networks are written as their papers have them, with a norm and its activation straight after each layer (before it
in DenseNet); what a particular norm makes of that is said here once for all of them.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial, reduce

from models.blueprint import NormChoice, map_chains
from models.catalog.names import NormName, Position
from models.catalog.records import Form
from models.catalog.registry import norms
from models.kinds.base import Layer, Options
from models.kinds.containers import Chain, Residual
from models.kinds.layers import Activation, Conv, Linear, Norm, NormActivation, Parametrization

#: The last layer of a network, whose weights no norm parametrizes.
OUTPUT = "output"


def place(body: Chain, norm: NormChoice) -> Chain:
    """The network as its norm wants it; `body` has a site of that norm at each of the network's own places."""
    rewrites: list[Callable[[Chain], Chain]] = []
    if norm.position is Position.AFTER_ACTIVATION:
        rewrites.append(_norm_after_activation)
    match norms()[norm.name].form:
        case Form.FUSED:
            rewrites.append(_fuse)
        case Form.WEIGHT:
            rewrites.append(partial(_parametrize, norm))
        case Form.RESIDUAL:
            rewrites.append(_skip_init)
        case Form.LAYER:
            pass
    rewrites.append(leave_out_absorbed_biases)
    return reduce(map_chains, rewrites, body)


def absorbs_bias(norm: NormChoice) -> bool:
    """Whether a bias straight before a site of this norm has no effect."""
    return norm.position is not Position.AFTER_ACTIVATION and _absorbs_bias(norm.name, norm.options)


def _absorbs_bias(norm: str, options: Options) -> bool:
    """Whether a norm with these options makes the same of an input and of it with a number added to a channel."""
    info = norms()[norm]
    return info.absorbs_bias and (not info.absorbs_bias_if or bool(dict(options).get(info.absorbs_bias_if)))


def leave_out_absorbed_biases(chain: Chain) -> Chain:
    """Drop the bias of a linear layer or convolution that a norm follows which absorbs it.

    Such a bias has no effect and no gradient; the norm's own shift takes its place (Ioffe & Szegedy 2015,
    section 3.2). It is so where each channel's mean is subtracted before anything else is taken of it.
    """
    layers = list(chain.layers)
    for index, ((name, layer), (_, follower)) in enumerate(zip(chain.layers, chain.layers[1:], strict=False)):
        if not (isinstance(layer, Linear | Conv) and isinstance(follower, Norm)):
            continue
        if _absorbs_bias(follower.norm, follower.options):
            layers[index] = (name, replace(layer, bias=False))
    return Chain(layers=tuple(layers))


def _norm_after_activation(chain: Chain) -> Chain:
    """Let each norm and the activation straight after it change places."""
    layers = list(chain.layers)
    for index in range(len(layers) - 1):
        (_, first), (_, second) = layers[index : index + 2]
        if isinstance(first, Norm) and isinstance(second, Activation):
            layers[index : index + 2] = layers[index + 1], layers[index]
    return Chain(layers=tuple(layers))


def _fuse(chain: Chain) -> Chain:
    """Make one layer of each norm and the activation straight after it, under the norm's name."""
    layers: list[tuple[str, Layer]] = []
    for name, layer in chain.layers:
        previous = layers[-1][1] if layers else None
        if isinstance(layer, Activation) and isinstance(previous, Norm):
            fused = NormActivation(norm=previous.norm, features=previous.features, options=previous.options)
            layers[-1] = (layers[-1][0], fused)
        else:
            layers.append((name, layer))
    return Chain(layers=tuple(layers))


def _parametrize(norm: NormChoice, chain: Chain) -> Chain:
    """Give the weights their parametrization; what is left at the sites is group norm, or an identity."""
    options = dict(norm.options)
    groups = options.pop("groups", None)
    parametrization = Parametrization(norm=norm.name, options=tuple(options.items()))
    beside: tuple[str, Options] = (NormName.NONE, ())
    if groups is not None:
        beside = (NormName.GROUP, (("groups", groups),))

    def change(name: str, layer: Layer) -> Layer:
        if isinstance(layer, Linear | Conv) and name != OUTPUT:
            return replace(layer, weight=parametrization)
        return replace(layer, norm=beside[0], options=beside[1]) if isinstance(layer, Norm) else layer

    return Chain(layers=tuple((name, change(name, layer)) for name, layer in chain.layers))


def _skip_init(chain: Chain) -> Chain:
    """Give each residual branch its scalar; the sites hold identities."""

    def change(layer: Layer) -> Layer:
        if isinstance(layer, Residual):
            return replace(layer, skip_init=True)
        return replace(layer, norm=NormName.NONE, options=()) if isinstance(layer, Norm) else layer

    return Chain(layers=tuple((name, change(layer)) for name, layer in chain.layers))
