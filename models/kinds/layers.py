"""Layers of feature vectors and of images. N samples, C channels, H x W positions."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from models.catalog.names import ActivationName
from models.kinds.base import Layer, Options


@dataclass(frozen=True, kw_only=True)
class Parametrization:
    """What the weights of a linear layer or convolution are computed from. `norm` is one of form `weight`."""

    norm: str
    options: Options = ()


@dataclass(frozen=True, kw_only=True)
class Flatten(Layer):
    """(N, *) to (N, product of *)."""

    kind: ClassVar[str] = "flatten"


@dataclass(frozen=True, kw_only=True)
class Linear(Layer):
    """(N, *, inputs) to (N, *, outputs)."""

    kind: ClassVar[str] = "linear"
    inputs: int
    outputs: int
    bias: bool = True
    weight: Parametrization | None = None


@dataclass(frozen=True, kw_only=True)
class Conv(Layer):
    """Square kernels. (N, inputs, H, W) to (N, outputs, H', W')."""

    kind: ClassVar[str] = "conv"
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    bias: bool = True
    weight: Parametrization | None = None


@dataclass(frozen=True, kw_only=True)
class Pool(Layer):
    """Max or average over square windows; `ceil` keeps a window that reaches over the edge."""

    kind: ClassVar[str] = "pool"
    pool: Literal["max", "avg"]
    kernel: int
    stride: int
    padding: int = 0
    ceil: bool = False


@dataclass(frozen=True, kw_only=True)
class GlobalPool(Layer):
    """Mean or largest value over all positions. (N, C, H, W) to (N, C)."""

    kind: ClassVar[str] = "global_pool"
    pool: Literal["max", "avg"] = "avg"


@dataclass(frozen=True, kw_only=True)
class Activation(Layer):
    """An elementwise function."""

    kind: ClassVar[str] = "activation"
    activation: ActivationName


@dataclass(frozen=True, kw_only=True)
class Dropout(Layer):
    """Train mode sets values to 0 with probability `p` and scales the others by 1 / (1 - p)."""

    kind: ClassVar[str] = "dropout"
    p: float


@dataclass(frozen=True, kw_only=True)
class Norm(Layer):
    """A site: a norm over `features` channels. `options` are the keyword arguments of its layer.

    With `tokens` the input is (N, T, features) and each token counts as a sample.
    """

    kind: ClassVar[str] = "norm"
    norm: str
    features: int
    options: Options = ()
    tokens: bool = False


@dataclass(frozen=True, kw_only=True)
class NormActivation(Layer):
    """A site whose norm is the activation too."""

    kind: ClassVar[str] = "norm_activation"
    norm: str
    features: int
    options: Options = ()


@dataclass(frozen=True, kw_only=True)
class ZeroPad(Layer):
    """A shortcut without weights: every `stride`-th position, then channels of zeros up to `outputs`.

    He et al. 2015 (arXiv 1512.03385), section 3.3, option A.
    """

    kind: ClassVar[str] = "zero_pad"
    inputs: int
    outputs: int
    stride: int
