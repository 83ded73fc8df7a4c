"""Layers of sequences. N samples, T time steps or tokens, F features."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from models.kinds.base import Layer
from models.kinds.layers import Norm


@dataclass(frozen=True, kw_only=True)
class Rows(Layer):
    """An image as the sequence of its rows. (N, C, H, W) to (N, H, C * W)."""

    kind: ClassVar[str] = "rows"


@dataclass(frozen=True, kw_only=True)
class Recurrent(Layer):
    """An LSTM or GRU over `steps` time steps. (N, steps, inputs) to (N, steps, units).

    `norms` are its sites, by the names that the cell gives them: those of batch norm keep statistics of each
    time step. The hidden state begins at 0; while its norm is in train mode it begins with normal noise of
    standard deviation `noise`.
    """

    kind: ClassVar[str] = "recurrent"
    cell: Literal["lstm", "gru"]
    inputs: int
    units: int
    steps: int
    norms: tuple[tuple[str, Norm], ...]
    noise: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LastStep(Layer):
    """The last time step. (N, T, F) to (N, F)."""

    kind: ClassVar[str] = "last_step"


@dataclass(frozen=True, kw_only=True)
class Patchify(Layer):
    """Square patches of an image as tokens. (N, inputs, H, W) to (N, T, features)."""

    kind: ClassVar[str] = "patchify"
    inputs: int
    features: int
    patch: int


@dataclass(frozen=True, kw_only=True)
class PositionalEmbedding(Layer):
    """Adds a learned vector to each token. (N, tokens, features)."""

    kind: ClassVar[str] = "positional_embedding"
    tokens: int
    features: int


@dataclass(frozen=True, kw_only=True)
class Attention(Layer):
    """Multi-head self-attention. (N, T, features).

    Its two linear maps are parts of it: norms of the weights leave them as they are. Train mode drops attention
    weights with probability `dropout`.
    """

    kind: ClassVar[str] = "attention"
    features: int
    heads: int
    dropout: float = 0.0


@dataclass(frozen=True, kw_only=True)
class MeanToken(Layer):
    """The mean of all tokens. (N, T, F) to (N, F)."""

    kind: ClassVar[str] = "mean_token"
