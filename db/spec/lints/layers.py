"""Lints about the layers around norms."""

from collections.abc import Generator, Iterator, Sequence

from db.spec.architectures.declared import ConvLayer, DeclaredLayer, LinearLayer, NormLayer, ResidualLayer
from db.spec.job import JobSpec
from db.spec.lints.base import Severity, SpecWarning
from models.catalog.registry import norms
from models.kinds.base import Layer, Named, dotted
from models.kinds.containers import Chain, Concat, Dense, Residual
from models.kinds.layers import Dropout, Norm, NormActivation
from models.kinds.sequences import Recurrent
from models.placement import absorbs_bias


def bias_before_norm(spec: JobSpec) -> SpecWarning | None:
    """A bias that was asked for and that the norm after it takes away again."""
    declared = getattr(spec.architecture, "layers", ())
    if not absorbs_bias(spec.norm.choice(spec.total_steps())):
        return None
    for pointer, layer, follower in _pairs("/architecture/layers", declared):
        if _asks_for_bias(layer) and isinstance(follower, NormLayer):
            return SpecWarning(
                code="bias_before_norm",
                pointer=f"{pointer}/bias",
                message=f"Norm '{spec.norm.name}' subtracts each channel's mean, and with it this bias: it is "
                "left out, and the norm's own shift takes its place. Leave bias out of the layer, or say false.",
                severity=Severity.INFO,
            )
    return None


def _pairs(
    pointer: str, declared: Sequence[DeclaredLayer]
) -> Iterator[tuple[str, DeclaredLayer, DeclaredLayer | None]]:
    """Where each layer stands, the layer, and the one straight after it; those in residual blocks too."""
    for index, layer in enumerate(declared):
        place = f"{pointer}/{index}"
        yield place, layer, declared[index + 1] if index + 1 < len(declared) else None
        if isinstance(layer, ResidualLayer):
            yield from _pairs(f"{place}/layers", layer.layers)
            yield from _pairs(f"{place}/shortcut", layer.shortcut)


def _asks_for_bias(layer: DeclaredLayer) -> bool:
    # By default there is one too, but who does not name it does not count on it.
    return isinstance(layer, LinearLayer | ConvLayer) and layer.bias and "bias" in layer.model_fields_set


def dropout_before_norm(spec: JobSpec) -> SpecWarning | None:
    """Dropout somewhere before a norm with running averages: variance shift.

    Li et al. 2018 (arXiv 1801.05134): train mode's zeros make the variance of what follows larger, the running
    averages keep that variance, and eval mode, without dropout, has a smaller one.
    """
    if not norms()[spec.norm.name].uses_batch or not getattr(spec.norm, "track", True):
        return None
    dropped, norm = next(_dropped_norms("", spec.blueprint().body, None), (None, None))
    if dropped is None:
        return None
    has_option = hasattr(spec.architecture, "dropout")
    return SpecWarning(
        code="dropout_before_norm",
        pointer="/architecture/dropout" if has_option else spec.architecture.pointer(dropped),
        message=f"Dropout ({dropped}) stands before norm {norm}, whose running averages keep the larger variance "
        "that dropout makes in train mode; eval mode has none of it. Put dropout after the last norm, leave it "
        "out, or recalibrate when the job is done.",
    )


def _dropped_norms(name: str, layer: Layer, dropped: str | None) -> Generator[tuple[str, str], None, str | None]:
    """Each norm that dropout reaches, with the dropout; returns the dropout that has acted on what comes out."""
    match layer:
        case Dropout(p=p):
            return dropped or (name if p > 0 else None)
        case Norm() | NormActivation():
            if dropped:
                yield dropped, name
            return dropped
        case Chain():
            for own_name, inner in layer.layers:
                dropped = yield from _dropped_norms(dotted(name, own_name), inner, dropped)
            return dropped
        case _:
            after = dropped
            for own_name, inner in _side_by_side(name, layer):  # what one of them drops the others still have
                after = (yield from _dropped_norms(own_name, inner, dropped)) or after
            return after


def _side_by_side(name: str, layer: Layer) -> Named:
    """The layers inside one that do not follow one another."""
    match layer:
        case Residual():
            return ((name, layer.branch), (dotted(name, "shortcut"), layer.shortcut))
        case Dense():
            return ((name, layer.branch),)
        case Concat(branches=inner) | Recurrent(norms=inner):
            return tuple((dotted(name, own_name), each) for own_name, each in inner)
        case _:
            return ()
