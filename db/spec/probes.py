"""Measurements on a frozen copy of a job's state, taken while it trains."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from db.spec.base import Count, Part, PositiveFloat
from db.spec.errors import spec_error
from models.blueprint import Blueprint
from models.catalog.names import ActivationName
from models.kinds.layers import Activation
from models.shapes import layers


class ProbePart(Part):
    """A measurement. It leaves the run as it is, and takes the time that it reports."""

    #: Numbers that are held at once for each parameter: of the copied model, and of what is computed beside it.
    copies: ClassVar[int]

    every: Count = 100
    """Steps between two measurements."""


class Landscape(ProbePart):
    """Loss and gradient along the gradient's own direction, at several step sizes from where the run is."""

    copies = 5  # the model, its gradient, the place that is tried, the gradient there, and less than one more

    name: Literal["landscape"]
    low: PositiveFloat = 0.5
    """The smallest step, as a multiple of the learning rate."""
    high: PositiveFloat = 4.0
    """The largest step, as a multiple of the learning rate."""
    points: Annotated[int, Field(strict=True, ge=2, le=100)] = 8
    """Steps that are tried, evenly spaced between their logarithms; each is a forward and a backward pass."""
    largest_step: PositiveFloat | None = 0.4
    """Where learning rate times `high` is more than this, all steps are shortened by one factor, so that this is
    the largest and the range keeps its ratio; null for no limit."""


class CovariateShift(ProbePart):
    """How much each layer's gradient changes when only the layers before it take their step."""

    copies = 4  # the model, its gradient, that of one layer, and less than one more

    name: Literal["covariate_shift"]


class Geometry(ProbePart):
    """Where samples lie relative to the folds of each layer of ReLUs, and how batch statistics move these."""

    copies = 1

    name: Literal["geometry"]
    samples: Annotated[int, Field(strict=True, ge=2, le=500)] = 256
    """Training samples whose distances and regions are measured; fewer where a layer gives very much for each."""
    radius: PositiveFloat = 0.1
    """The share of samples that are nearer than this to a fold is reported."""
    batches: Annotated[int, Field(strict=True, ge=2, le=1000)] = 50
    """Batches of the job's size from which the movement of the folds is measured; no more than an epoch has."""


Probe = Annotated[Landscape | CovariateShift | Geometry, Field(discriminator="name")]


def check_probes(probes: Sequence[Probe], blueprint: Blueprint) -> None:
    """Refuse probes that could not say anything, or not apart from one another.

    Raises:
        PydanticCustomError: one is named twice, a range is empty, or the network has nothing to measure.
    """
    names = [probe.name for probe in probes]
    if len(set(names)) < len(names):
        raise spec_error("not_distinct", "/probes", "A probe is named twice; its results go by its name.")
    for index, probe in enumerate(probes):
        if isinstance(probe, Landscape) and probe.high <= probe.low:
            message = f"The largest step ({probe.high:g}) must be larger than the smallest ({probe.low:g})."
            raise spec_error("not_in_order", f"/probes/{index}/high", message)
        if isinstance(probe, Geometry) and not _has_relu(blueprint):
            message = "Only a ReLU folds the input space, and the network has none. Give it activation 'relu'."
            raise spec_error("nothing_to_measure", f"/probes/{index}/name", message)


def _has_relu(blueprint: Blueprint) -> bool:
    activations = (step.layer for step in layers(blueprint) if isinstance(step.layer, Activation))
    return any(layer.activation == ActivationName.RELU for layer in activations)
