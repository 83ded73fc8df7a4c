"""Batch norm against dropout and L2, where there is too little data."""

from db.presets.parts import CIFAR10, DIGITS, MNIST_QUICK, Json, arm, recording, sgd
from db.presets.records import Preset


def _declaration(
    dataset: Json, architecture: Json, *, steps: int, every: int, seeds: int, target: float, batch_size: int
) -> Json:
    """Each of the three alone, two together, and none."""
    dropout, decay = {"architecture.dropout": 0.5}, {"optimizer.weight_decay": 1e-3}
    return {
        "base": {
            "dataset": dataset,
            "architecture": architecture,
            "optimizer": sgd(0.1),
            "steps": steps,
            "batch_size": batch_size,
            **recording(every, "eval"),
        },
        "arms": [
            arm("nothing", {}),
            arm("dropout", dropout),
            arm("L2", decay),
            arm("dropout and L2", dropout | decay),
        ],
        "axes": {"norm": ["none", "batch"]},
        "baseline": {"norm": "none"},
        "target": {"metric": "test/accuracy", "value": target},
        "seeds": seeds,
    }


REGULARIZATION = Preset(
    name="regularization",
    title="Batch norm as a regularizer, beside dropout and L2",
    source="Ioffe & Szegedy 2015 (arXiv 1502.03167), sections 3.4 and 4.2.1; Luo et al. 2018 (arXiv 1809.00846)",
    reported="Ioffe & Szegedy: with batch norm, dropout can be removed and the L2 weight be a fifth without more "
    "overfitting (no numbers). Luo et al.: the noise of batch statistics acts as a decay of the scales that "
    "depends on data and batch.",
    expected="A perceptron on 1,000 images of MNIST learns all of them in every arm. Batch norm has 1 to 2 points "
    "more of test accuracy and a third less test loss than the plain network; dropout and L2 lower the test loss "
    "of the plain network, less than batch norm does, and add nothing to it. Differences in accuracy between "
    "dropout, L2 and nothing are within the spread of the seeds.",
    scales={
        "smoke": _declaration(
            DIGITS | {"train_limit": 200},
            {"name": "mlp", "hidden": [64, 64]},
            steps=100,
            every=50,
            seeds=1,
            target=0.5,
            batch_size=20,
        ),
        "quick": _declaration(
            MNIST_QUICK | {"train_limit": 1000},
            {"name": "mlp", "hidden": [256, 256]},
            steps=1500,
            every=20,
            seeds=3,
            target=0.88,
            batch_size=32,
        ),
        "full": _declaration(
            CIFAR10 | {"train_limit": 10_000},
            {"name": "vgg", "depth": 16},
            steps=20_000,
            every=500,
            seeds=5,
            target=0.7,
            batch_size=128,
        ),
    },
)
