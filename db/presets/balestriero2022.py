"""Balestriero & Baraniuk 2022: where the folds of a ReLU network lie, with and without batch normalization."""

from collections.abc import Sequence

from db.presets.parts import CIFAR10, DIGITS, MNIST_QUICK, RELU_MLP, Json, recording, sgd
from db.presets.records import Preset


def _declaration(
    dataset: Json,
    architecture: Json,
    sizes: Sequence[int],
    *,
    steps: int,
    every: int,
    samples: int,
    seeds: int,
    target: float,
) -> Json:
    """The same rate and as many steps at each batch size: the jitter of the folds is what differs."""
    return {
        "base": {
            "dataset": dataset,
            "architecture": architecture,
            "optimizer": sgd(0.05),
            "steps": steps,
            "probes": [{"name": "geometry", "every": every, "samples": samples}],
            **recording(every, "eval", "train"),
        },
        "axes": {"norm": ["none", "batch"], "batch_size": list(sizes)},
        "baseline": {"norm": "none"},
        "target": {"metric": "test/accuracy", "value": target},
        "seeds": seeds,
    }


BALESTRIERO2022_GEOMETRY = Preset(
    name="balestriero2022-geometry",
    title="Batch normalization moves the folds of a network to the data; small batches shake them",
    source="Balestriero & Baraniuk 2022 (arXiv 2209.14778), sections 2 to 4",
    reported="A ReLU network folds its input space along hyperplanes. Batch normalization places each at the "
    "least total squares distance to the data, whatever the weights, before anything is learned; and the "
    "statistics of each batch move the folds a little, more for small batches, which widens the margin of the "
    "decision boundary as dropout would.",
    expected="On a perceptron and MNIST the folds of the first layer move by about 0.7, 0.35, 0.18 and 0.09 of "
    "the median distance of the samples from them at batches of 4, 16, 64 and 256: half as much for four times "
    "the batch, and 0 without batch normalization. The least squares of batch normalization's offset are below "
    "those of no offset and of a random one, as they must be. While the network trains, samples move away from "
    "the folds of the plain one, and stay nearer with batch normalization at batches of 64 and 256; before, "
    "distances are about alike, as plain networks begin with small biases. The wider margin of the paper is not "
    "measured.",
    scales={
        "smoke": _declaration(DIGITS, RELU_MLP, (16, 64), steps=60, every=30, samples=64, seeds=1, target=0.5),
        "quick": _declaration(
            MNIST_QUICK, RELU_MLP, (4, 16, 64, 256), steps=400, every=50, samples=256, seeds=3, target=0.9
        ),
        "full": _declaration(
            CIFAR10,
            {"name": "vgg", "depth": 11},
            (4, 16, 64, 256),
            steps=20_000,
            every=500,
            samples=500,
            seeds=5,
            target=0.7,
        ),
    },
)
