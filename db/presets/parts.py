"""What the declarations of several presets are made of."""

from collections.abc import Mapping, Sequence
from typing import Any

#: Part of a declaration, as JSON.
Json = dict[str, Any]

#: In steps: first and last step alone, which are always recorded.
NEVER = 10**9

DIGITS: Json = {"name": "digits"}
MNIST: Json = {"name": "mnist"}
#: With fewer test images where an evaluation would cost more than the steps before it.
MNIST_QUICK: Json = MNIST | {"test_limit": 2000}
CIFAR10: Json = {"name": "cifar10", "standardize": True}
CIFAR10_QUICK: Json = CIFAR10 | {"test_limit": 2000}

#: Three hidden layers of 100 ReLUs.
RELU_MLP: Json = {"name": "mlp", "hidden": [100, 100, 100]}
#: Three convolutions, each but the last before a pooling.
SMALL_CNN: Json = {"name": "cnn", "channels": [16, 32, 32]}


def recording(every: int | None, *modes: str, statistics: int = NEVER) -> Json:
    """Fields of a base spec: evaluate every so many steps in these modes, record moments every `statistics`.

    None is for a tenth of the steps. Without modes an evaluation is one pass over the test data. Checkpoints keep
    a long job safe from the loss of its worker; nothing here needs the best one.
    """
    return {
        "record": {"every": 10},
        "evaluate": {"every": every, "modes": list(modes), "train_samples": 1000},
        "statistics": {"every": statistics},
        "checkpoint": {"keep_last": 1, "keep_best": 0},
    }


def sgd(lr: float, **options: Any) -> Json:
    """Stochastic gradient descent."""
    return {"name": "SGD", "lr": lr} | options


def arm(name: str, values: Mapping[str, Any]) -> Json:
    """A named setting of several fields, by dotted path."""
    return {"name": name, "set": dict(values)}


def batch_arms(
    sizes: Sequence[int], *, samples: int, lr_per_sample: float, name: str = "batch {}", **also: Any
) -> list[Json]:
    """An arm for each batch size: each sees as many samples, at a learning rate in proportion to the batch.

    Goyal et al. 2017 (arXiv 1706.02677), section 2.1. `also` are whole fields that every arm sets.
    """
    return [
        arm(
            name.format(size),
            {"batch_size": size, "steps": samples // size, "optimizer.lr": lr_per_sample * size} | also,
        )
        for size in sizes
    ]
