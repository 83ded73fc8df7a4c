"""All norms as one type, chosen by name: those that come with normlab and those of installed packages."""

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from db.spec.norms import batch, other, sample
from db.spec.norms.base import NormPart
from models.catalog.registry import norm_plugins

PARTS: tuple[type[NormPart], ...] = (
    other.NoNorm,
    batch.BatchNorm,
    batch.SyncBatchNorm,
    batch.GhostBatchNorm,
    batch.BatchRenorm,
    batch.FrozenBatchNorm,
    batch.NoisyBatchNorm,
    batch.LpBatchNorm,
    sample.LayerNorm,
    sample.RMSNorm,
    sample.InstanceNorm,
    sample.GroupNorm,
    other.WeightStandardization,
    other.WeightNorm,
    other.SpectralNorm,
    sample.LocalResponseNorm,
    sample.FilterResponseNorm,
    sample.EvoNormS0,
    batch.EvoNormB0,
    other.DyT,
    other.SkipInit,
    *(plugin.spec for plugin in norm_plugins().values()),
)

if TYPE_CHECKING:
    Norm = NormPart
else:
    Norm = Annotated[Union[PARTS], Field(discriminator="name")]  # noqa: UP007  # made at run time
