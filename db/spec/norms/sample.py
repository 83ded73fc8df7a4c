"""Norms that treat each sample by itself."""

from typing import Annotated, Literal

from pydantic import Field

from db.spec.base import Flag, NonNegativeFloat, PositiveFloat
from db.spec.norms.base import AffineNorm, Groups, NormPart, PlacedNorm
from models.catalog.names import NormName


class LayerNorm(AffineNorm):
    """Layer normalization."""

    name: Literal[NormName.LAYER]
    over: Literal["sample", "channels"] = "sample"
    """Moments over all channels and positions of a sample, or over the channels of each position."""


class RMSNorm(PlacedNorm):
    """Root-mean-square normalization."""

    name: Literal[NormName.RMS]
    over: Literal["sample", "channels"] = "sample"
    """The mean square over all channels and positions of a sample, or over the channels of each position."""
    eps: PositiveFloat | None = None
    """Added to the mean square; null for the smallest step of the number type at 1."""
    affine: Flag = True
    """Learn a scale for each channel."""


class InstanceNorm(AffineNorm):
    """Instance normalization."""

    name: Literal[NormName.INSTANCE]
    affine: Flag = False
    """Learn a scale and a shift for each channel."""


class GroupNorm(AffineNorm):
    """Group normalization."""

    name: Literal[NormName.GROUP]
    groups: Groups = 32
    """Groups of channels; the channels of every site must be divisible by it."""


class LocalResponseNorm(PlacedNorm):
    """Local response normalization."""

    name: Literal[NormName.LOCAL_RESPONSE]
    size: Annotated[int, Field(strict=True, ge=1, le=65_536)] = 5
    """Neighbouring channels that count."""
    alpha: NonNegativeFloat = 1e-4
    """Weight of the mean square of the neighbours."""
    beta: PositiveFloat = 0.75
    """Exponent."""
    k: PositiveFloat = 1.0
    """Added to the mean square; the paper has 2."""


class FilterResponseNorm(NormPart):
    """Filter response normalization with its thresholded linear unit."""

    name: Literal[NormName.FILTER_RESPONSE]
    eps: PositiveFloat = 1e-6
    """Added to the mean square."""


class EvoNormS0(NormPart):
    """Evolved norm and activation with the variance of groups."""

    name: Literal[NormName.EVONORM_S0]
    groups: Groups = 32
    """Groups of channels; the channels of every site must be divisible by it."""
    eps: PositiveFloat = 1e-5
    """Added to the variance."""
