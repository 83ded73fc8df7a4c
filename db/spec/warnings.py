"""What is taken but may not be what was meant: warnings about a valid spec, free of torch."""

from collections.abc import Callable
from dataclasses import dataclass

from db.spec.job import JobSpec
from models.catalog.names import NormName
from models.catalog.registry import norms
from models.kinds.layers import Norm, NormActivation
from models.shapes import layers, sites


@dataclass(frozen=True, kw_only=True)
class SpecWarning:
    """Something to look at. `pointer` is the JSON pointer of the field, `message` says what happens."""

    code: str
    pointer: str
    message: str


def warnings(spec: JobSpec) -> list[SpecWarning]:
    """All warnings about a spec."""
    return [found for rule in RULES if (found := rule(spec)) is not None]


def _sync_in_one_process(spec: JobSpec) -> SpecWarning | None:
    if spec.norm.name != NormName.SYNC_BATCH:
        return None
    return SpecWarning(
        code="sync_in_one_process",
        pointer="/norm/name",
        message="A job runs in one process, in which norm 'sync_batch' is plain 'batch'.",
    )


def _two_values(spec: JobSpec) -> SpecWarning | None:
    """Of two values of a channel, batch statistics leave nothing but which is the larger."""
    info = norms()[spec.norm.name]
    # Without centring, as in some lp_batch, the size of the values survives.
    if not (info.uses_batch and info.absorbs_bias and getattr(spec.norm, "centered", True)):
        return None
    size = getattr(spec.norm, "size", spec.batch_size)
    pointer = "/norm/size" if size < spec.batch_size else "/batch_size"
    smallest = spec.batch_size % size or min(size, spec.batch_size)
    for site in sites(spec.blueprint()):
        if smallest * site.positions == 2:
            return SpecWarning(
                code="two_values_per_channel",
                pointer=pointer,
                message=f"At site {site.name} each channel has two values to normalize, which become +1 and -1 "
                "whatever they were. Take more samples, or a norm that does not use the batch.",
            )
    return None


def _frozen_from_scratch(spec: JobSpec) -> SpecWarning | None:
    if spec.norm.name != NormName.FROZEN_BATCH:
        return None
    return SpecWarning(
        code="frozen_from_scratch",
        pointer="/norm/name",
        message="The statistics of norm 'frozen_batch' begin as mean 0 and variance 1 and never change: in a "
        "network that is trained from scratch it is the identity.",
    )


def _decay_of_norms(spec: JobSpec) -> SpecWarning | None:
    steps = layers(spec.blueprint())
    learned = any(step.parameters for step in steps if isinstance(step.layer, Norm | NormActivation))
    if not (learned and spec.optimizer.decay_norm and spec.optimizer.weight_decay):
        return None
    return SpecWarning(
        code="decay_of_norms",
        pointer="/optimizer/decay_norm",
        message="Weight decay pulls the scales of norms towards 0 too, which changes what they do and not how "
        "large the weights are. Leave decay_norm out unless that is meant.",
    )


def _accumulated_batches(spec: JobSpec) -> SpecWarning | None:
    count = getattr(spec.optimizer, "accumulate", 1)
    if count <= 1 or not norms()[spec.norm.name].uses_batch:
        return None
    return SpecWarning(
        code="accumulated_batches",
        pointer="/optimizer/accumulate",
        message=f"Each of the {count} batches of a step is normalized by itself, with {spec.batch_size} samples, "
        "and moves the running averages once: gradients are those of a larger batch, statistics are not.",
    )


RULES: tuple[Callable[[JobSpec], SpecWarning | None], ...] = (
    _sync_in_one_process,
    _two_values,
    _frozen_from_scratch,
    _decay_of_norms,
    _accumulated_batches,
)
