"""Lints about learned numbers: decay of norms, standardized weights."""

from collections.abc import Sequence

from db.spec.job import JobSpec
from db.spec.lints.base import SpecWarning
from models.catalog.names import ActivationName, NormName
from models.kinds.containers import Residual
from models.kinds.layers import Activation, Conv, Linear, Norm, NormActivation
from models.shapes import LayerShape, layers

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


def decay_of_norms(spec: JobSpec) -> SpecWarning | None:
    """Weight decay of what a norm learned."""
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


def standardized_alone(spec: JobSpec) -> SpecWarning | None:
    """Standardized weights and nothing that bounds the values."""
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
