"""Which optimizer a job uses: torch's names and arguments."""

from typing import Annotated, Literal

from pydantic import Field

from db.spec.base import Flag, NonNegativeFloat, Part, PositiveFloat

Beta = Annotated[float, Field(strict=True, ge=0, lt=1)]


class SGD(Part):
    """`torch.optim.SGD`."""

    name: Literal["SGD"] = "SGD"
    lr: PositiveFloat = 0.1
    momentum: NonNegativeFloat = 0.0
    weight_decay: NonNegativeFloat = 0.0
    decay_norm: Flag = False
    """Apply weight decay to the parameters of norms too."""


class AdamW(Part):
    """`torch.optim.AdamW`."""

    name: Literal["AdamW"]
    lr: PositiveFloat = 1e-3
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.01
    decay_norm: Flag = False
    """Apply weight decay to the parameters of norms too."""


Optimizer = Annotated[SGD | AdamW, Field(discriminator="name")]
