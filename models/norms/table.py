"""From a norm's name to its layer."""

from collections.abc import Callable
from importlib import import_module

from models.catalog.names import NormName
from models.catalog.registry import norm_plugins
from models.kinds.base import OptionValue
from models.norms.base import Identity, Normalization
from models.norms.batch import FrozenBatchNorm, batch_norm

LayerMaker = Callable[..., Normalization]

NORM_LAYERS: dict[str, LayerMaker] = {
    NormName.NONE: lambda features: Identity(),
    NormName.BATCH: batch_norm,
    NormName.FROZEN_BATCH: FrozenBatchNorm,
}


def make_norm(name: str, features: int, **options: OptionValue) -> Normalization:
    """The layer for a site of `features` channels; `options` are those of the norm's spec.

    Raises:
        KeyError: there is no such norm.
        TypeError: an installed package's layer is no `Normalization`.
    """
    layer = NORM_LAYERS.get(name) or _installed(name)
    made = layer(features, **options)
    if not isinstance(made, Normalization):
        raise TypeError(f"The layer of norm {name!r} is a {type(made).__name__}, which is no Normalization.")
    return made


def _installed(name: str) -> LayerMaker:
    """The layer of an installed package's norm, imported when it is first needed."""
    module, _, attribute = norm_plugins()[name].layer.partition(":")
    layer: LayerMaker = getattr(import_module(module), attribute)
    return layer
