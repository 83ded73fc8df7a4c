"""The network of the batch-normalization paper: Inception with two 3x3 convolutions in place of each 5x5."""

from functools import partial
from typing import Literal, NamedTuple

from models.blueprint import Blueprint, Init, NormChoice
from models.catalog.names import ActivationName, Architecture
from models.kinds.base import Layer, Named
from models.kinds.containers import Chain, Concat
from models.kinds.layers import Dropout, GlobalPool, Linear, Pool
from models.networks.parts import conv_norm_activation
from models.placement import OUTPUT, place

Form = Literal["cifar", "imagenet"]


class _Module(NamedTuple):
    """A row of figure 5: the channels that each convolution gives. 0 is for none."""

    name: str
    pool: Literal["avg", "max"]
    one: int
    three_reduce: int
    three: int
    double_reduce: int
    double: int
    #: Of the 1x1 after the pooling; without it the pooling passes all channels through, with stride 2.
    projection: int


_FIGURE_5 = (
    _Module("3a", "avg", 64, 64, 64, 64, 96, 32),
    _Module("3b", "avg", 64, 64, 96, 64, 96, 64),
    _Module("3c", "max", 0, 128, 160, 64, 96, 0),
    _Module("4a", "avg", 224, 64, 96, 96, 128, 128),
    _Module("4b", "avg", 192, 96, 128, 96, 128, 128),
    _Module("4c", "avg", 160, 128, 160, 128, 160, 128),
    _Module("4d", "avg", 96, 128, 192, 160, 192, 128),
    _Module("4e", "max", 0, 128, 192, 192, 256, 0),
    _Module("5a", "avg", 352, 192, 320, 160, 224, 128),
    _Module("5b", "max", 352, 192, 320, 192, 224, 128),
)


def inception(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    form: Form = "cifar",
    width: float = 1.0,
    activation: ActivationName = ActivationName.RELU,
    dropout: float = 0.0,
    norm: NormChoice,
    init: Init,
) -> Blueprint:
    """A stem, ten Inception modules, the mean over all positions and one linear output.

    Ioffe & Szegedy 2015 (arXiv 1502.03167), figure 5, in the layout of the widely used Caffe model: modules 4c
    and 4d give 608 channels, the sum of their columns, and 4e therefore 1056, where the figure's column of
    output sizes says 576, 576 and 1024. The first convolution is a plain one (the paper's is separable with
    depth multiplier 8), and there are no auxiliary outputs. Where the stride is 2 the poolings have a padding
    of 1, so that they fit the convolutions beside them at any size of image.

    `cifar` has one 3x3 convolution with stride 1 in place of the stem. `width` multiplies the channels of every
    layer, each rounded to a multiple of 8. The paper trains without dropout; 0.05 and 0.1 are in its ensemble.
    """
    convolution = partial(conv_norm_activation, norm=norm, activation=activation)
    layers: list[tuple[str, Layer]] = []
    if form == "imagenet":
        narrow, channels = _scaled(64, width), _scaled(192, width)
        layers += [
            *convolution(1, input_shape[0], narrow, 7, 2),
            ("pool1", _halving_pool()),
            *convolution(2, narrow, narrow, 1),
            *convolution(3, narrow, channels, 3),
            ("pool2", _halving_pool()),
        ]
    else:
        channels = _scaled(192, width)
        layers += convolution(1, input_shape[0], channels, 3)
    for row in _FIGURE_5:
        numbers = (_scaled(number, width) for number in row[2:])
        module = _Module(row.name, row.pool, *numbers)
        layers.append((f"inception{row.name}", _module(convolution, channels, module)))
        channels = module.one + module.three + module.double + (module.projection or channels)
    layers.append(("pool", GlobalPool()))
    if dropout:
        layers.append(("dropout", Dropout(p=dropout)))
    layers.append((OUTPUT, Linear(inputs=channels, outputs=outputs)))
    return Blueprint(
        architecture=Architecture.INCEPTION,
        input_shape=input_shape,
        outputs=outputs,
        init=init,
        body=place(Chain(layers=tuple(layers)), norm),
    )


def _module(convolution: partial[Named], inputs: int, module: _Module) -> Concat:
    """Branches of 1x1, of 1x1 and 3x3, of 1x1 and twice 3x3, and of a pooling; the last 3x3 has the stride."""
    stride = 1 if module.projection else 2
    three = (
        *convolution(1, inputs, module.three_reduce, 1),
        *convolution(2, module.three_reduce, module.three, 3, stride),
    )
    double = (
        *convolution(1, inputs, module.double_reduce, 1),
        *convolution(2, module.double_reduce, module.double, 3),
        *convolution(3, module.double, module.double, 3, stride),
    )
    pooled: Named = (("pool", Pool(pool=module.pool, kernel=3, stride=stride, padding=1)),)
    if module.projection:
        pooled += convolution(1, inputs, module.projection, 1)
    branches = [("branch2", three), ("branch3", double), ("branch4", pooled)]
    if module.one:
        branches.insert(0, ("branch1", convolution(1, inputs, module.one, 1)))
    return Concat(branches=tuple((name, Chain(layers=layers)) for name, layers in branches))


def _halving_pool() -> Pool:
    return Pool(pool="max", kernel=3, stride=2, padding=1)


def _scaled(channels: int, width: float) -> int:
    """A share of the channels, to the nearest multiple of 8, and at least 8 unless there are none."""
    return max(8, 8 * int(channels * width / 8 + 0.5)) if channels else 0
