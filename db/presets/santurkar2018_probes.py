"""Santurkar et al. 2018: gradients when other layers move, and the landscape along the gradient."""

from typing import Any

from db.presets.parts import DIGITS, MNIST_QUICK, Json, recording, sgd
from db.presets.records import Preset
from db.presets.santurkar2018 import VGG_BASE, VGG_TARGET

#: Deep enough for the difference, small enough for seconds; weights and rate as in the paper.
RELU_MLP_10: Json = {"name": "mlp", "hidden": [64] * 10, "init": {"name": "xavier_uniform"}}
#: The paper's is 0.1. The others show which rates a smoother landscape allows.
RATES = (0.01, 0.1, 1.0, 3.0, 10.0)
#: The paper's range of steps for the VGG, as multiples of the rate, with its limit.
VGG_RANGE: Json = {"low": 0.5, "high": 4.0, "largest_step": 0.4}

#: The paper's deep linear network: 25 square layers of 10, all data in each step, the sum of squares.
LINEAR: Json = {
    "dataset": {"name": "gaussian_linear"},
    "architecture": {
        "name": "mlp",
        "hidden": [10] * 24,
        "activation": "linear",
        "init": {"name": "xavier_uniform"},
    },
    "loss": {"reduction": "sum"},
    "batch_size": 1000,
}
#: The paper has 1e-6 and 1e-7. At 1e-6 gradients of the plain network turn too (with the sum as the loss).
LINEAR_RATE = 1e-7
#: The paper's range of steps for this network.
LINEAR_RANGE: Json = {"low": 0.01, "high": 30.0, "largest_step": None}


def _declaration(base: Json, probes: list[Json], *, seeds: int, target: Json | None, **axes: Any) -> Json:
    return {
        "base": base | {"probes": probes},
        "axes": {"norm": ["none", "batch"]} | axes,
        "baseline": {"norm": "none"},
        "target": target,
        "seeds": seeds,
    }


def _landscape(dataset: Json, *, steps: int, every: int, seeds: int, target: float) -> Json:
    base = {
        "dataset": dataset,
        "architecture": RELU_MLP_10,
        "optimizer": sgd(0.1),
        "batch_size": 128,
        "steps": steps,
        **recording(10),
    }
    rates = {"optimizer.lr": list(RATES)}
    return _declaration(base, _both(every), seeds=seeds, target=_accuracy(target), **rates)


def _both(every: int) -> list[Json]:
    return [{"name": "landscape", "every": every} | VGG_RANGE, {"name": "covariate_shift", "every": every}]


def _accuracy(value: float) -> Json:
    return {"metric": "test/accuracy", "value": value}


SANTURKAR2018_LANDSCAPE = Preset(
    name="santurkar2018-landscape",
    title="Batch normalization makes loss and gradients along the gradient's direction vary less",
    source="Santurkar et al. 2018 (arXiv 1805.11604), section 3.1, figure 4; section 2.2, figure 3",
    reported="On a VGG and CIFAR-10 the range of the loss along the gradient, and how far the gradient there is "
    "from the one before the step, are smaller throughout with batch normalization, for the gradient by close to "
    "two orders of magnitude early on; the effective smoothness (beta) is better too.",
    expected="On a perceptron of ten layers and MNIST at rate 0.1 the median range of the loss is some 16 to 18 "
    "times smaller with batch normalization, that of the gradient 4 times. Beta shows no clear difference at this "
    "scale, and the probe of covariate shift, which runs beside it, none in favour of either. Over the rates: the "
    "plain network passes 85 % at 0.1 only, the normalized one from 0.01 to 3. `full` is the paper's training on "
    "VGG-11, at its one rate.",
    scales={
        "smoke": _landscape(DIGITS, steps=60, every=20, seeds=1, target=0.5),
        "quick": _landscape(MNIST_QUICK, steps=500, every=20, seeds=3, target=0.85),
        "full": _declaration(VGG_BASE | recording(250), _both(100), seeds=5, target=_accuracy(VGG_TARGET)),
    },
)


def _linear(*, steps: int, every: int, seeds: int, target: float | None, **axes: Any) -> Json:
    probes = [{"name": "covariate_shift", "every": every}, {"name": "landscape", "every": every} | LINEAR_RANGE]
    base = LINEAR | {"optimizer": sgd(LINEAR_RATE), "steps": steps} | recording(every)
    loss = {"metric": "test/loss", "value": target} if target is not None else None
    return _declaration(base, probes, seeds=seeds, target=loss, **axes)


SANTURKAR2018_COVARIATE_SHIFT = Preset(
    name="santurkar2018-covariate-shift",
    title="Gradients change more when earlier layers move, with batch normalization, and it trains better",
    source="Santurkar et al. 2018 (arXiv 1805.11604), section 2.2, definition 2.1, figure 3, and appendix A",
    reported="On VGG and a deep linear network the gradient of a layer before and after the layers before it take "
    "their step differs as much or more with batch normalization, although training is faster. In the deep linear "
    "network the two gradients point the same way without it (cosine 1) and are nearly uncorrelated with it.",
    expected="On the paper's deep linear network: without batch normalization every cosine stays above 0.95; with "
    "it they are anywhere between -0.8 and 1, while the loss is lower. `quick` has 1,500 of the 10,000 steps. The "
    "paper's other network, a VGG, is measured by the same probe in `santurkar2018-landscape`.",
    scales={
        "smoke": _linear(steps=60, every=20, seeds=1, target=None),
        "quick": _linear(steps=1500, every=50, seeds=3, target=2.0),
        "full": _linear(steps=10_000, every=100, seeds=5, target=1.0, **{"optimizer.lr": [LINEAR_RATE, 1e-6]}),
    },
)
