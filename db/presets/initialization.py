"""From which scales of the initial weights a network trains, by norm."""

from collections.abc import Sequence

from db.presets.parts import CIFAR10, DIGITS, MNIST_QUICK, Json, recording, sgd
from db.presets.records import Preset


def _declaration(
    dataset: Json,
    architecture: Json,
    deviations: Sequence[float],
    *,
    steps: int,
    every: int,
    seeds: int,
    target: float,
    batch_size: int,
) -> Json:
    return {
        "base": {
            "dataset": dataset,
            "architecture": architecture | {"init": {"name": "normal", "std": deviations[0]}},
            "optimizer": sgd(0.1),
            "steps": steps,
            "batch_size": batch_size,
            **recording(every, "eval", "train", "precise"),
        },
        "axes": {"norm": ["none", "batch", "layer", "weight"], "architecture.init.std": list(deviations)},
        "baseline": {"norm": "none"},
        "target": {"metric": "test/accuracy", "value": target},
        "seeds": seeds,
    }


INITIALIZATION = Preset(
    name="initialization",
    title="From which scales of the initial weights a network trains, by norm",
    source="Ioffe & Szegedy 2015 (arXiv 1502.03167), section 3.3; Ba et al. 2016 (arXiv 1607.06450), section 5.1",
    reported="BN((aW)u) = BN(Wu): the scale of the weights does not change what a normalized layer gives, and its "
    "gradient is smaller the larger the weights are. Layer norm has the same of the whole weight matrix, weight "
    "norm of each unit's weights. The papers give the equations and no sweep.",
    expected="A perceptron of five ReLU layers at learning rate 0.1. Plain, it trains near 0.1 only: with 0.01 "
    "the signal fades, from 0.3 on it diverges. Batch norm trains from 0.001 to 0.3, and slower the larger the "
    "weights are, because their gradients are smaller; nothing diverges. Layer norm has the same upper end, but "
    "not the lower: at 0.001 its eps of 1e-5 is more than the variance that it divides by. Weight norm begins "
    "with lengths that are those of the weights, so here it does not widen the range.",
    scales={
        "smoke": _declaration(
            DIGITS,
            {"name": "mlp", "hidden": [64] * 3},
            (0.01, 0.1),
            steps=60,
            every=30,
            seeds=1,
            target=0.5,
            batch_size=32,
        ),
        "quick": _declaration(
            MNIST_QUICK,
            {"name": "mlp", "hidden": [100] * 5},
            (0.001, 0.01, 0.1, 0.3, 1.0, 3.0),
            steps=500,
            every=50,
            seeds=3,
            target=0.85,
            batch_size=60,
        ),
        "full": _declaration(
            CIFAR10,
            {"name": "vgg", "depth": 11},
            (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
            steps=10_000,
            every=500,
            seeds=5,
            target=0.7,
            batch_size=128,
        ),
    },
)
