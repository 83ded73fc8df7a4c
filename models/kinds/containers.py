"""Layers that hold layers."""

from dataclasses import dataclass
from typing import ClassVar

from models.kinds.base import Layer, Named


@dataclass(frozen=True, kw_only=True)
class Chain(Layer):
    """Layers one after the other."""

    kind: ClassVar[str] = "chain"
    layers: Named


#: A chain of nothing is the identity.
IDENTITY = Chain(layers=())


@dataclass(frozen=True, kw_only=True)
class Residual(Layer):
    """shortcut(x) + branch(x); with `skip_init`, shortcut(x) + alpha * branch(x) with alpha learned from 0."""

    kind: ClassVar[str] = "residual"
    branch: Chain
    shortcut: Chain = IDENTITY
    skip_init: bool = False


@dataclass(frozen=True, kw_only=True)
class Dense(Layer):
    """x and branch(x), one after the other in the channels."""

    kind: ClassVar[str] = "dense"
    branch: Chain


@dataclass(frozen=True, kw_only=True)
class Concat(Layer):
    """All branches of x, one after the other in the channels."""

    kind: ClassVar[str] = "concat"
    branches: Named
