"""Internal covariate shift, as the gradients of layers see it."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from models.cells import RecurrentLayer
from worker.probes.base import State, Values
from worker.probes.subject import Subject
from worker.probes.vectors import distance, dot, norm, on_host

#: What counts as a layer. Its weights are its matrices and kernels, or the parameters that they are computed from;
#: biases, which many norms absorb, are not.
WEIGHTED = (nn.Linear, nn.Conv2d, RecurrentLayer)


@dataclass(frozen=True, kw_only=True)
class CovariateShift:
    """How much each layer's gradient changes when only the layers before it take their step.

    Santurkar et al. 2018 (arXiv 1805.11604), definition 2.1. For layer i, G is the gradient of its weights at the
    step's own weights, G' that with every parameter before the layer, scales and shifts of norms among them, as
    it is after the step; both on the step's own batch:

    - `<layer>/difference` is ||G - G'||, `<layer>/cosine` that of the angle between them, NaN where one is 0;
    - `passes`: one forward that finds the order, then forward and backward, one and one for each such layer.

    Layers are those in `WEIGHTED` with weights that are learned, in the order in which they finish; of parallel
    branches, the one that runs first counts as before. Before the first there is nothing: it is left out.
    """

    name = "covariate_shift"
    every: int

    def measure(self, state: State) -> Values:
        subject = Subject(state)
        later = {name: p.detach() for name, p in state.after.named_parameters()}
        layers = _layers(subject, state.inputs)
        weights = {layer.name: layer.weights for layer in layers}
        _, all_now = subject.gradients([name for names in weights.values() for name in names])
        found: dict[str, Tensor] = {}
        for layer in layers[1:]:
            now = {name: all_now[name] for name in layer.weights}
            _, then = subject.gradients(layer.weights, {name: later[name] for name in layer.before})
            found[f"{layer.name}/difference"] = distance(now, then)
            found[f"{layer.name}/cosine"] = dot(now, then) / (norm(now) * norm(then))
        return on_host(found) | {"passes": subject.passes}


@dataclass(frozen=True, kw_only=True)
class _Layer:
    name: str
    #: Names of its learned weights, and of all parameters that take part before it.
    weights: list[str]
    before: list[str]


def _layers(subject: Subject, inputs: Tensor) -> list[_Layer]:
    """The weighted layers in the order in which they finish."""
    modules = dict(subject.model.named_modules())
    parameters: dict[str, list[str]] = {}
    for name in dict(subject.model.named_parameters()):
        parameters.setdefault(_owner(name), []).append(name)
    finished: list[str] = []
    with subject.train_mode(), ExitStack() as hooks:
        for name in parameters:
            hooks.enter_context(modules[name].register_forward_hook(partial(_note, finished, name)))
        subject.run(inputs)
    order = list(dict.fromkeys(finished))  # a norm of a cell finishes at every time step
    learned = {name for name, value in subject.learned().items() if value.dim() > 1}
    return [
        _Layer(
            name=name,
            weights=[own for own in parameters[name] if own in learned],
            before=[
                other
                for earlier in order[: order.index(name)]
                if not earlier.startswith(f"{name}.")
                for other in parameters[earlier]
            ],
        )
        for name in order
        if isinstance(modules[name], WEIGHTED) and learned.intersection(parameters[name])
    ]


def _owner(parameter: str) -> str:
    """The layer of a parameter, also where its weight is computed from others."""
    layer, computed, _ = parameter.partition(".parametrizations.")
    return layer if computed else parameter.rpartition(".")[0]


def _note(finished: list[str], name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    finished.append(name)
