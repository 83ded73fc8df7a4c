"""Which optimizer a job uses: torch's names and arguments."""

from typing import Annotated, Literal

from pydantic import Field

from db.spec.base import Flag, NonNegativeFloat, Part, PositiveFloat

Accumulate = Annotated[int, Field(strict=True, ge=1, le=1024)]
Beta = Annotated[float, Field(strict=True, ge=0, lt=1)]


class SGD(Part):
    """`torch.optim.SGD`."""

    name: Literal["SGD"] = "SGD"
    lr: PositiveFloat = 0.1
    """Learning rate."""
    momentum: NonNegativeFloat = 0.0
    """Share of the last step that goes into the next."""
    weight_decay: NonNegativeFloat = 0.0
    """Added to the gradient, times the weight."""
    decay_norm: Flag = False
    """Apply weight decay to the parameters of norms too."""
    accumulate: Accumulate = 1
    """Batches whose gradients make one step. Each is normalized by itself and moves the running averages, so
    the batch that normalization sees stays batch_size."""


class AdamW(Part):
    """`torch.optim.AdamW`."""

    name: Literal["AdamW"]
    lr: PositiveFloat = 1e-3
    """Learning rate."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Weights of the past in the averages of gradient and squared gradient."""
    eps: PositiveFloat = 1e-8
    """Added to the root of the squared gradient."""
    weight_decay: NonNegativeFloat = 0.01
    """Share of each weight that a step takes away, times lr."""
    decay_norm: Flag = False
    """Apply weight decay to the parameters of norms too."""
    accumulate: Accumulate = 1
    """Batches whose gradients make one step. Each is normalized by itself and moves the running averages, so
    the batch that normalization sees stays batch_size."""


Optimizer = Annotated[SGD | AdamW, Field(discriminator="name")]
