"""No norm, norms of the weights, and what stands in for a norm."""

from typing import Annotated, Literal

from pydantic import Field

from db.spec.base import PositiveFloat
from db.spec.norms.base import Groups, NormPart, PlacedNorm
from models.catalog.names import NormName


class NoNorm(PlacedNorm):
    """No normalization."""

    name: Literal[NormName.NONE] = NormName.NONE


class WeightStandardization(PlacedNorm):
    """Weight standardization, alone or with group normalization."""

    name: Literal[NormName.WEIGHT_STANDARDIZATION]
    groups: Groups | None = None
    """Groups of the group norm at the sites; null for weight standardization alone."""
    eps: PositiveFloat = 1e-5
    """Added to the variance of a filter's weights."""


class WeightNorm(NormPart):
    """Weight normalization."""

    name: Literal[NormName.WEIGHT]


class SpectralNorm(NormPart):
    """Spectral normalization."""

    name: Literal[NormName.SPECTRAL]
    n_power_iterations: Annotated[int, Field(strict=True, ge=1, le=1000)] = 1
    """Power iterations of each forward pass in train mode."""
    eps: PositiveFloat = 1e-12
    """Keeps the vectors' norms from 0."""


class DyT(PlacedNorm):
    """Dynamic tanh."""

    name: Literal[NormName.DYT]
    alpha: PositiveFloat = 0.5
    """What the learned factor inside the tanh begins at."""


class SkipInit(NormPart):
    """No norm; a learned scalar on each residual branch that begins at 0."""

    name: Literal[NormName.SKIP_INIT]
