"""Batch norm before or after the activation, with and without scale and shift."""

from db.presets.parts import CIFAR10, CIFAR10_QUICK, DIGITS, SMALL_CNN, Json, arm, recording, sgd
from db.presets.records import Preset

#: The residual network whose norms are moved, at full scale.
RESNET: Json = {"name": "resnet", "depth": 20}


def _declaration(
    dataset: Json,
    architectures: dict[str, Json],
    *,
    batch_size: int,
    steps: int,
    every: int,
    seeds: int,
    target: float,
) -> Json:
    placed = [
        {"name": "batch", "position": f"{where}_activation", "affine": affine}
        for where in ("before", "after")
        for affine in (True, False)
    ]
    return {
        "base": {
            "dataset": dataset,
            "optimizer": sgd(0.05, momentum=0.9),
            "batch_size": batch_size,
            "steps": steps,
            **recording(every),
        },
        "arms": [arm(name, {"architecture": network}) for name, network in architectures.items()],
        "axes": {"norm": ["none", *placed]},
        "baseline": {"norm": placed[0]},
        "target": {"metric": "test/accuracy", "value": target},
        "seeds": seeds,
    }


PLACEMENT = Preset(
    name="placement",
    title="Batch norm before and after the activation, with and without scale and shift",
    source="Ioffe & Szegedy 2015 (arXiv 1502.03167), section 3.2; Mishkin et al. 2016 (arXiv 1606.02228), batch "
    "normalization",
    reported="Ioffe & Szegedy place it before the activation, where inputs are more nearly Gaussian. Top-1 "
    "accuracy of a CaffeNet on ImageNet at 128 pixels, with and without scale and shift: before 0.478 and 0.474, "
    "after 0.493 and 0.499, without batch norm 0.471. For residual networks on CIFAR-10 the opposite was found.",
    expected="A network of three convolutions, 600 steps on CIFAR-10: every placement is well above no batch "
    "norm, and after the activation is several points better than before it, with or without scale and shift, "
    "whose effect is within the spread of the seeds. That is the finding of Mishkin et al.; the opposite one for "
    "residual networks needs `full`, which has a small convolutional, a VGG-16 and a ResNet-20 instead of "
    "CaffeNet on ImageNet.",
    scales={
        "smoke": _declaration(DIGITS, {"cnn": SMALL_CNN}, batch_size=64, steps=40, every=20, seeds=1, target=0.3),
        "quick": _declaration(
            CIFAR10_QUICK, {"cnn": SMALL_CNN}, batch_size=32, steps=600, every=50, seeds=3, target=0.45
        ),
        "full": _declaration(
            CIFAR10,
            {
                "cnn": SMALL_CNN | {"channels": [64, 128, 256]},
                "vgg": {"name": "vgg", "depth": 16},
                "resnet": RESNET,
            },
            batch_size=128,
            steps=30_000,
            every=500,
            seeds=5,
            target=0.7,
        ),
    },
)
