"""From a norm's name to its layer."""

from collections.abc import Callable
from importlib import import_module

from models.catalog.names import NormName
from models.kinds.base import OptionValue
from models.norms.base import Identity, Normalization
from models.norms.batch import FrozenBatchNorm, batch_norm
from models.norms.dyt import DyT
from models.norms.evonorm import EvoNormS0, evonorm_b0
from models.norms.ghost import GhostBatchNorm
from models.norms.group import GroupNorm, InstanceNorm
from models.norms.layer import LayerNorm, RMSNorm
from models.norms.lp import LpBatchNorm
from models.norms.noisy import noisy_batch_norm
from models.norms.renorm import BatchRenorm
from models.norms.response import FilterResponseNorm, LocalResponseNorm
from models.norms.sync import SyncBatchNorm

LayerMaker = Callable[..., Normalization]

NORM_LAYERS: dict[str, LayerMaker] = {
    NormName.NONE: lambda features: Identity(),
    NormName.BATCH: batch_norm,
    NormName.SYNC_BATCH: SyncBatchNorm,
    NormName.GHOST_BATCH: GhostBatchNorm,
    NormName.BATCH_RENORM: BatchRenorm,
    NormName.FROZEN_BATCH: FrozenBatchNorm,
    NormName.NOISY_BATCH: noisy_batch_norm,
    NormName.LP_BATCH: LpBatchNorm,
    NormName.LAYER: LayerNorm,
    NormName.RMS: RMSNorm,
    NormName.INSTANCE: InstanceNorm,
    NormName.GROUP: GroupNorm,
    NormName.LOCAL_RESPONSE: LocalResponseNorm,
    NormName.FILTER_RESPONSE: FilterResponseNorm,
    NormName.EVONORM_S0: EvoNormS0,
    NormName.EVONORM_B0: evonorm_b0,
    NormName.DYT: DyT,
}


def make_norm(name: str, features: int, **options: OptionValue) -> Normalization:
    """The layer for a site of `features` channels; `options` are those of the norm's spec.

    Raises:
        KeyError: there is no such norm.
        TypeError: an installed package's layer is no `Normalization`.
    """
    if name in NORM_LAYERS:
        return NORM_LAYERS[name](features, **options)
    made = _installed(name)(features, **options)
    if not isinstance(made, Normalization):
        raise TypeError(f"The layer of norm {name!r} is a {type(made).__name__}, which is no Normalization.")
    return made


def _installed(name: str) -> LayerMaker:
    """The layer of an installed package's norm, imported when it is first needed."""
    # Only here: the code that leaves with a trained network has this table, and no catalogue.
    from models.catalog.registry import norm_plugins

    module, _, attribute = norm_plugins()[name].layer.partition(":")
    layer: LayerMaker = getattr(import_module(module), attribute)
    return layer
