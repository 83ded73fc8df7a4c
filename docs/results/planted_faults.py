"""Thirteen faults as they come about in practice, each planted in a job, and each with a healthy twin.

Where the spec can express a fault, a job has it; the others are planted in the run that a worker makes of the
spec, or in its data.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from worker.data.cache import CachedData
from worker.ema import Ema
from worker.trainer import Run

Spec = dict[str, Any]

#: What a fault does not say.
BASE: Spec = {
    "dataset": {"name": "digits"},
    "architecture": {"name": "mlp", "hidden": [64, 64, 64]},
    "norm": {"name": "batch"},
    "batch_size": 32,
    "steps": 300,
    "statistics": {"every": 20},
    "device": "cpu",
}
#: The batch in which a fault is planted that needs a run under way.
PLANTED_AT = 200
#: Steps after which statistics are frozen, where they are.
FROZEN_AFTER = 150
#: The input that stands still, where one does.
STILL = 3
#: The averaged model's share of its past, short enough for a job of 300 steps.
DECAY = 0.9


@dataclass(frozen=True, kw_only=True, eq=False)
class Fault:
    """A fault: the code of the finding that names it, the job that has it, and what its twin has in its place."""

    title: str
    code: str
    spec: Spec = field(default_factory=dict)
    twin: Spec = field(default_factory=dict)
    #: What is done to the run before its first step, and to its data; not to the twin's.
    plant: Callable[[Run], Run] | None = None
    change: Callable[[CachedData], CachedData] | None = None

    def job(self, seed: int, *, healthy: bool) -> Spec:
        """The job, or its twin."""
        return {**BASE, **self.spec, **(self.twin if healthy else {}), "seed": seed}

    @property
    def in_the_spec(self) -> bool:
        """Whether any client can plant it."""
        return self.plant is None and self.change is None


class _Batches:
    """Counts the batches that a module trains on; evaluations build no graph."""

    def __init__(self) -> None:
        self.count = 0

    def step(self) -> int:
        """The number of this training batch, or 0 in an evaluation."""
        if not torch.is_grad_enabled():
            return 0
        self.count += 1
        return self.count


def overflow(run: Run) -> Run:
    """Half precision overflows in one channel of one batch: its variance is infinite, the loss is not."""
    batches = _Batches()

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if batches.step() == PLANTED_AT:
            module.get_buffer("batch_var").data[0] = torch.inf  # no change of the graph

    run.averages.norms[1].register_forward_hook(hook)
    return run


def change_data(run: Run) -> Run:
    """Training goes on with inverted images once the statistics are frozen."""
    batches = _Batches()

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (x,) = inputs
        return (1 - x if batches.step() > FROZEN_AFTER else x,)

    run.model.register_forward_pre_hook(hook)
    return run


def switch_channels_off(run: Run) -> Run:
    """A third of the scales of one site are next to nothing, and stay so."""
    norm = run.averages.norms[1]
    weight = norm.get_parameter("weight")
    off = torch.arange(len(weight)) % 3 == 0
    weight.data[off] = 1e-6
    weight.register_hook(lambda gradient: gradient.masked_fill(off, 0.0))
    return run


class _StaleEma(Ema):
    def settle(self) -> None:
        """The copy keeps the statistics that it was made with."""


def forget_statistics(run: Run) -> Run:
    """Averaged weights in a copy of the model whose statistics nobody keeps up."""
    return replace(run, ema=_StaleEma(run.model, decay=DECAY, use_buffers=False))


def still_channel(data: CachedData) -> CachedData:
    """One of the inputs never changes, as a sensor that is out of order."""
    arrays = data.arrays
    inputs = {name: getattr(arrays, name).copy() for name in ("train_inputs", "test_inputs")}
    for values in inputs.values():
        values[:, STILL] = 1
    return replace(data, arrays=replace(arrays, **inputs))


def other_test_data(data: CachedData) -> CachedData:
    """The test images are dark on light, those of training light on dark."""
    images = data.arrays.test_inputs
    return replace(data, arrays=replace(data.arrays, test_inputs=images.max() - images))


def perceptron(*first: Spec, bias: bool | None = None) -> Spec:
    """A network declared layer by layer, with some layers before the others or with biases that are asked for."""
    linear = {"name": "linear", "units": 64} | ({} if bias is None else {"bias": bias})
    block: list[Spec] = [linear, {"name": "norm"}, {"name": "activation"}]
    layers = [*first, {"name": "flatten"}, *block, *block, {"name": "linear", "units": 10}]
    return {"name": "sequential", "layers": layers}


def deep(std: float | None) -> Spec:
    """Thirty layers of tanh, with normal initial weights of a standard deviation or with Glorot's."""
    init: Spec = {"name": "xavier_normal"} if std is None else {"name": "normal", "std": std}
    return {"name": "mlp", "hidden": [64] * 30, "activation": "tanh", "init": init}


def sigmoids(init: Spec) -> Spec:
    """Three layers of sigmoids."""
    return {"name": "mlp", "hidden": [64, 64, 64], "activation": "sigmoid", "init": init}


NONE: Spec = {"name": "none"}

FAULTS = (
    Fault(
        title="momentum 0.001, too few steps",
        code="init_residue",
        spec={"norm": {"name": "batch", "momentum": 0.001}},
        twin={"norm": {"name": "batch"}},
    ),
    Fault(
        title="batches of two",
        code="statistic_noise",
        spec={"batch_size": 2, "steps": 1500, "optimizer": {"name": "SGD", "lr": 0.01}},
        twin={"batch_size": 32},
    ),
    Fault(
        title="two classes in each batch",
        code="non_iid_batches",
        spec={"dataset": {"name": "digits", "classes_per_batch": 2}},
        twin={"dataset": {"name": "digits"}},
    ),
    Fault(title="a running variance overflows", code="variance_overflow", plant=overflow),
    Fault(
        title="an input channel that never changes",
        code="constant_channel",
        spec={
            "dataset": {"name": "gaussian_linear"},
            "architecture": perceptron({"name": "norm"}),
            "optimizer": {"name": "SGD", "lr": 0.02},
        },
        change=still_channel,
    ),
    Fault(
        title="a learning rate that kills ReLUs",
        code="dead_units",
        spec={"norm": NONE, "optimizer": {"name": "SGD", "lr": 1.5}},
        twin={"optimizer": {"name": "SGD", "lr": 0.1}},
    ),
    Fault(
        title="saturated sigmoids",
        code="saturated_units",
        spec={"norm": NONE, "architecture": sigmoids({"name": "normal", "std": 3.0})},
        twin={"architecture": sigmoids({"name": "xavier_normal"})},
    ),
    Fault(
        title="gradients that explode with depth",
        code="exploding_gradients",
        spec={"norm": NONE, "architecture": deep(0.5), "optimizer": {"name": "SGD", "lr": 1e-6}},
        twin={"architecture": deep(None), "optimizer": {"name": "SGD", "lr": 0.03}},
    ),
    Fault(
        title="frozen statistics on other data",
        code="frozen_shift",
        spec={"norm": {"name": "batch", "freeze_after": FROZEN_AFTER}, "optimizer": {"name": "SGD", "lr": 0.02}},
        plant=change_data,
    ),
    Fault(title="test data unlike training data", code="test_shift", change=other_test_data),
    Fault(
        title="averaged weights with stale statistics",
        code="ema_statistics",
        spec={"ema": {"decay": DECAY}},
        plant=forget_statistics,
    ),
    Fault(title="scales near zero", code="scale_near_zero", plant=switch_channels_off),
    Fault(
        title="a bias before a norm",
        code="bias_before_norm",
        spec={"architecture": perceptron(bias=True)},
        twin={"architecture": perceptron()},
    ),
)
