"""Norms that use the mini-batch in train mode."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from db.spec.base import Count, Flag, NonNegativeFloat, PositiveFloat
from db.spec.errors import spec_error
from db.spec.norms.base import BatchNormPart, Momentum, NormPart, PlacedNorm
from models.catalog.names import NormName
from models.kinds.base import Options

Share = Annotated[float, Field(strict=True, ge=0, le=1)]


class BatchNorm(BatchNormPart):
    """Batch normalization."""

    name: Literal[NormName.BATCH]
    track: Flag = True
    """Keep running averages for eval mode; without them eval mode uses batch statistics too."""

    @model_validator(mode="after")
    def _check_freezing(self) -> Self:
        if self.freeze_after is not None and not self.track:
            message = "Without running averages (track is false) there is nothing that training could freeze to."
            raise spec_error("nothing_to_freeze", "/norm/freeze_after", message, allowed=[None])
        return self


class SyncBatchNorm(BatchNormPart):
    """Batch normalization over the batches of all processes of a job; in one process it is `batch`."""

    name: Literal[NormName.SYNC_BATCH]


class GhostBatchNorm(BatchNormPart):
    """Batch normalization of each chunk of the batch by itself."""

    name: Literal[NormName.GHOST_BATCH]
    size: Annotated[Count, Field(ge=2)] = 32
    """Samples of a chunk; the last one may be smaller."""


class BatchRenorm(BatchNormPart):
    """Batch renormalization."""

    name: Literal[NormName.BATCH_RENORM]
    eps: PositiveFloat = 1e-3
    """Added to the variance, inside the root."""
    momentum: Momentum | None = 0.01
    """Weight of the newest batch in the running averages; null weighs every batch the same."""
    r_max: Annotated[float, Field(strict=True, ge=1, le=1e6)] = 3.0
    """The largest correction of the scale, at the end of its ramp; it begins at 1."""
    d_max: NonNegativeFloat = 5.0
    """The largest correction of the mean, at the end of its ramp; it begins at 0."""
    r_ramp: tuple[Share, Share] = (0.03, 0.25)
    """Where r_max begins and ends to grow, as shares of the job; the paper has steps 5,000
    and 40,000."""
    d_ramp: tuple[Share, Share] = (0.03, 0.16)
    """Where d_max begins and ends to grow, as shares of the job; the paper has steps 5,000
    and 25,000."""

    @model_validator(mode="after")
    def _check_ramps(self) -> Self:
        for name in ("r_ramp", "d_ramp"):
            begin, end = getattr(self, name)
            if end < begin:
                message = f"The ramp ends at {end}, before it begins at {begin}. Give the smaller share first."
                raise spec_error("ends_before_it_begins", f"/norm/{name}", message, allowed=[[end, begin]])
        return self

    def options(self, updates: int) -> Options:
        plain = {name: value for name, value in super().options(updates) if name not in ("r_ramp", "d_ramp")}
        ramps = {
            f"{name}_{end}": round(share * updates)
            for name, ramp in (("r", self.r_ramp), ("d", self.d_ramp))
            for end, share in zip(("begin", "end"), ramp, strict=True)
        }
        return tuple((plain | ramps).items())


class FrozenBatchNorm(PlacedNorm):
    """Batch normalization with fixed statistics, scale and shift."""

    name: Literal[NormName.FROZEN_BATCH]
    eps: PositiveFloat = 1e-5
    """Added to the variance."""


class NoisyBatchNorm(BatchNormPart):
    """Batch normalization followed by noise."""

    name: Literal[NormName.NOISY_BATCH]
    n_mu: NonNegativeFloat = 0.5
    """The noise's mean is drawn from -n_mu to n_mu for each channel and step."""
    n_sigma: Annotated[float, Field(strict=True, ge=1, le=1e6)] = 1.25
    """The noise's scale is drawn from 1 to n_sigma for each channel and step."""
    r_mu: NonNegativeFloat = 0.1
    """Half the width of the uniform distribution of the shift of each value."""
    r_sigma: NonNegativeFloat = 0.1
    """Standard deviation of the normal distribution of the scale of each value."""
    normalize: Flag = True
    """Put the noise on normalized values; if false, on the inputs as they are, without running averages."""

    @property
    def track(self) -> bool:
        """Whether there are running averages, which only what normalizes has."""
        return self.normalize

    @model_validator(mode="after")
    def _check_freezing(self) -> Self:
        if self.freeze_after is not None and not self.normalize:
            message = "Without normalization (normalize is false) there is nothing that training could freeze to."
            raise spec_error("nothing_to_freeze", "/norm/freeze_after", message, allowed=[None])
        return self


class LpBatchNorm(BatchNormPart):
    """Centred like batch normalization, divided by a p-norm."""

    name: Literal[NormName.LP_BATCH]
    p: Literal[1, 2, "inf"] = 1
    """Mean absolute value, root mean square, or largest absolute value."""
    centered: Flag = False
    """Take the scale of x - mean, and for p = 1 multiply it by sqrt(pi / 2)."""
    eps: PositiveFloat = 1e-5
    """Added to the scale."""


class EvoNormB0(NormPart):
    """Evolved norm and activation with batch and instance variance."""

    name: Literal[NormName.EVONORM_B0]
    momentum: Momentum | None = 0.1
    """Weight of the newest batch in the running average; null weighs every batch the same."""
    eps: PositiveFloat = 1e-5
    """Added to the variances."""
