"""Wu & Johnson 2021: what batch norm normalizes by in eval mode."""

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
    arm,
    recording,
    sgd,
)
from db.presets.records import Preset

#: torch's, and one with which the averages of a short job stay near what they begin with.
MOMENTUM, SLOW_MOMENTUM = 0.1, 0.001
#: The paper freezes for the last 20 of 100 epochs.
FROZEN_SHARE = 0.2
#: Averaged over about the last 50 steps.
EMA_DECAY = 0.98


def _batch(**options: Any) -> Json:
    return {"norm": {"name": "batch"} | options}


def _declaration(
    dataset: Json, architecture: Json, others: list[Json], *, steps: int, tiny_steps: int, seeds: int
) -> Json:
    """Batches of 32 and of 2, at a rate in proportion."""
    tiny = {"batch_size": 2, "steps": tiny_steps, "optimizer.lr": 0.1 / 16}
    return {
        "base": {
            "dataset": dataset,
            "architecture": architecture,
            "optimizer": sgd(0.1),
            "batch_size": 32,
            "steps": steps,
            **recording(NEVER, "eval", "train", "precise"),
        },
        "arms": [
            arm("momentum 0.1", _batch(momentum=MOMENTUM)),
            arm("momentum 0.001", _batch(momentum=SLOW_MOMENTUM)),
            arm("all batches alike", _batch(momentum=None)),
            arm("averaged weights, their statistics averaged", _batch() | _ema(use_buffers=True)),
            arm("averaged weights, statistics of the others", _batch() | _ema(use_buffers=False)),
            arm("frozen at the end", _batch(freeze_after=_thaw(steps))),
            arm("batch 2", tiny | _batch()),
            arm("batch 2, frozen at the end", tiny | _batch(freeze_after=_thaw(tiny_steps))),
            *others,
        ],
        "baseline": {"arm": "momentum 0.1"},
        "seeds": seeds,
    }


def _ema(*, use_buffers: bool) -> Json:
    return {"ema": {"decay": EMA_DECAY, "use_buffers": use_buffers}}


def _thaw(steps: int) -> int:
    """The step after which the statistics are frozen."""
    return round((1 - FROZEN_SHARE) * steps)


def _other_arms(cifar: Json, *, fast_steps: int, uneven_steps: int) -> list[Json]:
    """A convolutional network that is trained fast, so that the averages lag; and batches of two classes each."""
    uneven = {"dataset.classes_per_batch": 2, "steps": uneven_steps}
    return [
        arm("cnn", {"dataset": cifar, "architecture": SMALL_CNN, "steps": fast_steps} | _batch()),
        arm("2 classes in each batch", uneven | _batch()),
        arm("2 classes in each batch, layer norm", uneven | {"norm": "layer"}),
    ]


WU2021_PRECISE = Preset(
    name="wu2021-precise",
    title="Moving averages, population statistics, frozen statistics",
    source="Wu & Johnson 2021 (arXiv 2105.07576), sections 3 and 4",
    reported="Moving averages are stale or unstable where training is short or fast; statistics of 1,000 to "
    "10,000 samples taken afterwards (PreciseBN) are not, at about 0.5 % of the cost. Small normalization batches "
    "are noisy in train mode and other in eval mode: batches of 32 to 128 are best, with 2 PreciseBN gains 3.5 "
    "points, and frozen statistics for the last 20 of 100 epochs bring ResNet-50 to 25.2 % error.",
    expected="With momentum 0.001 and 200 steps eval mode is several points below train mode and population "
    "statistics close the gap; with 0.1 there is none. Averaged weights gain from statistics of their own. A "
    "convolutional network that is trained fast gains 1 to 4 points from population statistics. At batches of 2 a "
    "perceptron fails (below 60 %): population statistics gain a few points and do not rescue it; frozen "
    "statistics for the last fifth gain much more, while at batches of 32 freezing costs points, as the paper has "
    "it. On batches of two classes each population statistics gain a point or more, and layer norm, which does "
    "not see the batch, is better still by more. The paper's large batches, detectors and other domains are not "
    "in it, and train mode at batches of 2 is worse than eval mode here, not better.",
    scales={
        "smoke": _declaration(
            DIGITS,
            RELU_MLP,
            _other_arms(DIGITS, fast_steps=60, uneven_steps=100),
            steps=100,
            tiny_steps=400,
            seeds=1,
        ),
        "quick": _declaration(
            MNIST_QUICK,
            RELU_MLP,
            _other_arms(CIFAR10_QUICK | {"train_limit": 8000}, fast_steps=500, uneven_steps=1875),
            steps=200,
            tiny_steps=6000,
            seeds=3,
        ),
        "full": _declaration(
            CIFAR10, {"name": "resnet", "depth": 20}, [], steps=50_000, tiny_steps=800_000, seeds=5
        ),
    },
)
