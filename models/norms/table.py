"""From a norm's name to its layer."""

from collections.abc import Callable

from torch import nn

from models.catalog import NormName
from models.norms.batch import BatchNorm


def _identity(features: int) -> nn.Module:
    """A site without a norm; it keeps its place so that the same records are kept."""
    return nn.Identity()


NORM_LAYERS: dict[NormName, Callable[..., nn.Module]] = {
    NormName.NONE: _identity,
    NormName.BATCH: BatchNorm,
}


def make_norm(name: NormName, features: int, **options: float | bool) -> nn.Module:
    """The layer for a site of `features` channels; `options` are those of the norm's entry in the catalogue."""
    return NORM_LAYERS[name](features, **options)
