"""Measurements on a frozen copy of a job's state, taken while it trains."""

from typing import Annotated, Literal

from pydantic import Field

from db.spec.base import Count, Part, PositiveFloat


class ProbePart(Part):
    """A measurement. It leaves the run as it is, and takes the time that it reports."""

    every: Count = 100
    """Steps between two measurements."""


class Landscape(ProbePart):
    """Loss and gradient along the gradient's own direction, at several step sizes from where the run is."""

    name: Literal["landscape"]
    low: PositiveFloat = 0.5
    """The smallest step, as a multiple of the learning rate."""
    high: PositiveFloat = 4.0
    """The largest step, as a multiple of the learning rate."""
    points: Annotated[int, Field(strict=True, ge=2, le=100)] = 8
    """Steps that are tried, evenly spaced between their logarithms; each is a forward and a backward pass."""
    largest_step: PositiveFloat | None = 0.4
    """Larger steps than this, learning rate and multiple taken together, are cut to it; null for no limit."""


class CovariateShift(ProbePart):
    """How much each layer's gradient changes when only the layers before it take their step."""

    name: Literal["covariate_shift"]


class Geometry(ProbePart):
    """Where samples lie relative to the folds of each layer, and how batch statistics move these."""

    name: Literal["geometry"]
    samples: Annotated[int, Field(strict=True, ge=2, le=10_000)] = 256
    """Training samples whose distances and regions are measured."""
    radius: PositiveFloat = 0.1
    """The share of samples that are nearer to a fold than this is reported."""
    batches: Annotated[int, Field(strict=True, ge=2, le=1000)] = 50
    """Batches of the job's size from which the movement of the folds is measured."""


Probe = Annotated[Landscape | CovariateShift | Geometry, Field(discriminator="name")]
