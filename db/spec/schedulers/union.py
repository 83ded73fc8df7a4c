"""The schedulers that a job may name.

`ReduceLROnPlateau` is left out: it waits for a metric, the others for steps alone. So is what takes functions.
"""

from typing import Annotated

from pydantic import Field

from db.spec.schedulers import cyclic, decaying

Scheduler = Annotated[
    decaying.StepLR
    | decaying.MultiStepLR
    | decaying.ExponentialLR
    | decaying.CosineAnnealingLR
    | decaying.CosineAnnealingWarmRestarts
    | decaying.LinearLR
    | decaying.ConstantLR
    | decaying.PolynomialLR
    | cyclic.OneCycleLR
    | cyclic.CyclicLR,
    Field(discriminator="name"),
]
