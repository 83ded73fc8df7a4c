"""What is taken but may not be what was meant: warnings about a valid spec, free of torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from db.spec.job import JobSpec
from models.catalog.names import ActivationName, NormName
from models.catalog.registry import norms
from models.kinds.containers import Residual
from models.kinds.layers import Activation, Conv, Linear, Norm, NormActivation
from models.shapes import LayerShape, layers, sites

#: From so many standardized layers in a row on, weight standardization alone is warned of: each multiplies values
#: by about the root of half its inputs. Measured over 20 steps of SGD with torch's own initial weights, learning
#: rates 0.1 and 0.01: `mlp` (100 units) and `cnn` (32 channels) of up to 3 ended with losses below 3; with 4,
#: `mlp` with up to 5e12; with 5, both with NaN. A transformer with 4 had NaN at step 3, ResNet-20 at step 2.
STANDARDIZED_LAYERS = 4
#: Activations after which values are small whatever they were.
BOUNDED = (ActivationName.SIGMOID, ActivationName.TANH)
#: What `decay_norm` decays, and what that does; of norms that are not here the scales.
_DECAYED = {
    NormName.WEIGHT.value: ("the learned length of each filter", "and with it all that the filter gives"),
    NormName.SKIP_INIT.value: ("the scalar of each residual branch", "where the branch takes no part"),
}
_DECAYED_SCALES = ("the scales of norms", "which changes what they do and not how large the weights are")


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
    learned = any(map(_learns_for_a_norm, layers(spec.blueprint())))
    if not (learned and spec.optimizer.decay_norm and spec.optimizer.weight_decay):
        return None
    what, effect = _DECAYED.get(str(spec.norm.name), _DECAYED_SCALES)
    return SpecWarning(
        code="decay_of_norms",
        pointer="/optimizer/decay_norm",
        message=f"Weight decay pulls {what} towards 0 too, {effect}. Leave decay_norm out unless that is meant.",
    )


def _learns_for_a_norm(step: LayerShape) -> bool:
    """Whether the layer has learned numbers that are a norm's or stand in for one's."""
    match step.layer:
        case Norm() | NormActivation() | Residual():
            return step.parameters > 0
        case Linear(weight=weight) | Conv(weight=weight):
            return weight is not None and weight.norm == NormName.WEIGHT
        case _:
            return False


def _standardized_alone(spec: JobSpec) -> SpecWarning | None:
    if spec.norm.name != NormName.WEIGHT_STANDARDIZATION or getattr(spec.norm, "groups", None) is not None:
        return None
    longest = _standardized_in_a_row(layers(spec.blueprint()))
    if longest < STANDARDIZED_LAYERS:
        return None
    return SpecWarning(
        code="standardized_alone",
        pointer="/norm/groups",
        message=f"{longest} layers in a row have standardized weights and nothing between them that bounds the "
        "values: each makes them several times as large, and the loss is soon not finite. Give groups, which puts "
        "group norm between them.",
    )


def _standardized_in_a_row(steps: Sequence[LayerShape]) -> int:
    """The most layers with computed weights that follow one another without an activation that has bounds."""
    longest = count = 0
    for step in steps:
        if isinstance(step.layer, Activation) and step.layer.activation in BOUNDED:
            count = 0
        elif isinstance(step.layer, Linear | Conv) and step.layer.weight is not None:
            count += 1
        longest = max(longest, count)
    return longest


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
    _standardized_alone,
    _accumulated_batches,
)
