"""What the catalogue says of a network and of a norm, and what an installed package adds to it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from models.catalog.names import Position


class Form(StrEnum):
    """What a norm is in a network."""

    #: A layer at each site.
    LAYER = "layer"
    #: A layer that takes the place of norm and activation.
    FUSED = "fused"
    #: A parametrization of the weights of linear layers and convolutions; sites hold what stands beside it.
    WEIGHT = "weight"
    #: A learned scalar on each residual branch.
    RESIDUAL = "residual"


class Moments(StrEnum):
    """What a site records: so many numbers of each kind."""

    #: One for each channel.
    CHANNELS = "channels"
    #: One for each group of channels.
    GROUPS = "groups"
    #: One.
    SAMPLE = "sample"


@dataclass(frozen=True, kw_only=True)
class NormInfo:
    """What the catalogue says of a norm, and what shapes and rules must know of it."""

    name: str
    summary: str
    #: In LaTeX; x is a value of the site's input, y of its output.
    formula: str
    #: Paper and equation.
    reference: str
    #: What eval mode uses in place of the mini-batch's moments.
    eval_mode: str
    #: What is easily got wrong.
    pitfalls: tuple[str, ...] = ()
    form: Form = Form.LAYER
    #: A bias straight before such a norm has no effect and is left out.
    absorbs_bias: bool = False
    #: The option that must be true for that; empty if all options absorb it.
    absorbs_bias_if: str = ""
    #: In train mode a sample's output depends on the other samples of its batch.
    uses_batch: bool = False
    #: Train mode needs at least this many values of each channel in a batch.
    values_per_channel: int = 1
    #: Needs at least this many values of each channel in one sample.
    positions: int = 1
    records: Moments = Moments.CHANNELS
    #: Learned numbers: of each channel (none if `affine` is false), of each channel where it is fused with the
    #: activation, and of each site.
    per_channel: int = 0
    fused_per_channel: int = 0
    per_site: int = 0


@dataclass(frozen=True, kw_only=True)
class ArchitectureInfo:
    """What the catalogue says of a network."""

    name: str
    summary: str
    reference: str
    #: The norms that it takes, but for those that installed packages add.
    norms: tuple[str, ...]
    #: The positions that it has, its own convention first.
    positions: tuple[Position, ...]


@dataclass(frozen=True, kw_only=True)
class NormPlugin:
    """A norm of an installed package: the object that an entry point of the group `normlab.norms` names."""

    info: NormInfo
    #: The spec's part, a subclass of `db.spec.norms.base.NormPart`.
    spec: type[Any]
    #: `module:name` of the layer; only workers import it. Called as layer(features, **options).
    layer: str
    #: The networks that take it.
    architectures: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ArchitecturePlugin:
    """A network of an installed package: what an entry point of the group `normlab.architectures` names."""

    info: ArchitectureInfo
    #: The spec's part, a subclass of `db.spec.architectures.base.ArchitecturePart`.
    spec: type[Any]
