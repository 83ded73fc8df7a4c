"""Wu & He 2018: batch, group, layer and instance norm over batch sizes."""

from collections.abc import Sequence
from typing import Any

from db.presets.parts import (
    CIFAR10,
    CIFAR10_QUICK,
    DIGITS,
    MNIST_QUICK,
    NEVER,
    RELU_MLP,
    SMALL_CNN,
    Json,
    batch_arms,
    recording,
    sgd,
)
from db.presets.records import Preset

#: The paper's: 0.1 for a batch of 32.
LR_PER_SAMPLE = 0.1 / 32
#: Twice as much, for the perceptron, which bears it and is trained for less than an epoch.
MLP_LR_PER_SAMPLE = 0.2 / 32
#: The paper has 32 groups of at least 2 channels; small networks have 4 groups of at least 4.
SMALL_GROUPS, GROUPS = 4, 32


def _declaration(
    arms: list[Json],
    *,
    groups: int,
    every: int | None,
    seeds: int,
    target: Json | None,
    exclude: Sequence[str] = (),
    **base: Any,
) -> Json:
    return {
        # Arms set network, batch size, rate and steps.
        "base": {"optimizer": sgd(0.1), **recording(every, "eval", "train"), **base},
        "arms": arms,
        "axes": {"norm": ["batch", {"name": "group", "groups": groups}, "layer", "instance"]},
        # A fully connected layer has one value of each channel in a sample, which leaves instance norm nothing.
        "exclude": [{"arm": name, "norm": "instance"} for name in exclude],
        "baseline": {"norm": "batch"},
        "target": target,
        "seeds": seeds,
    }


def _small(mlp: Json, cnn: Json, *, sizes: Sequence[int], samples: int, images: int, seeds: int) -> Json:
    """A perceptron, whose batch norm has a value of each channel for each sample, and a convolutional network."""
    perceptrons = batch_arms(
        sizes,
        samples=samples,
        lr_per_sample=MLP_LR_PER_SAMPLE,
        name="mlp, batch {}",
        dataset=mlp | {"train_limit": samples},
        architecture=RELU_MLP | {"hidden": [96, 96, 96]},
    )
    convolutions = batch_arms(
        sizes,
        samples=images,
        lr_per_sample=LR_PER_SAMPLE,
        name="cnn, batch {}",
        dataset=cnn,
        architecture=SMALL_CNN,
    )
    return _declaration(
        perceptrons + convolutions,
        groups=SMALL_GROUPS,
        # Steps to a target say little where a step is two samples or 32.
        every=NEVER,
        seeds=seeds,
        target=None,
        exclude=[each["name"] for each in perceptrons],
    )


WU2018_BATCH_SIZE = Preset(
    name="wu2018-batch-size",
    title="Batch norm needs large batches; group, layer and instance norm do not see the batch",
    source="Wu & He 2018 (arXiv 1803.08494), section 4.1, tables 1 and 2, figures 4 and 5",
    reported="ResNet-50 on ImageNet, error at batches of 32, 16, 8, 4 and 2 per worker: batch norm 23.6, 23.7, "
    "24.8, 27.3, 34.7 %; group norm 24.1, 24.2, 24.0, 24.2, 24.1 %. At 32 layer norm has 25.3 % and instance norm "
    "28.4 %.",
    expected="On a perceptron and 20,000 images of MNIST batch norm fails at batches of 2 (about 50 %), where "
    "group and layer norm have 93 to 94 %; at 32 batch norm is as good or better. A small convolutional network "
    "on CIFAR-10 (two passes over 8,000 images) does not fail: each batch has a value of every channel for every "
    "position. Batch norm loses several points from 32 to 2 there and ends about level with group norm. Instance "
    "norm hardly learns in it, for its last norm stands before the mean over all positions, and takes from each "
    "map just the mean and variance that are read there. With 4 groups of 24 or 4 to 8 channels, not 32. `full` "
    "is a wide ResNet-20 on CIFAR-10 instead of ResNet-50 on ImageNet.",
    scales={
        "smoke": _small(DIGITS, DIGITS, sizes=(8, 32), samples=1280, images=640, seeds=1),
        "quick": _small(
            MNIST_QUICK,
            CIFAR10_QUICK | {"train_limit": 8000},
            sizes=(2, 8, 32),
            samples=60_000,
            images=16_000,
            seeds=3,
        ),
        "full": _declaration(
            batch_arms((2, 4, 8, 16, 32), samples=2_000_000, lr_per_sample=LR_PER_SAMPLE),
            groups=GROUPS,
            every=None,
            seeds=5,
            target={"metric": "test/accuracy", "value": 0.8},
            dataset=CIFAR10,
            # Of 64, 128 and 256 channels: with the usual 16 there are no 32 groups.
            architecture={"name": "resnet", "depth": 20, "width": 64},
        ),
    },
)
