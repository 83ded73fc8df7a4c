"""A small network of each kind, and options with which every norm fits into it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from db.spec.job import JobSpec
from models.catalog.names import Architecture, NormName, Position
from models.catalog.registry import architectures
from worker.data.arrays import Arrays
from worker.data.cache import CachedData

BATCH = 8
CLASSES = 10
SAMPLES = 2 * BATCH

#: As small as each network goes on images of 32x32.
SMALL: dict[str, dict[str, Any]] = {
    Architecture.MLP: {"hidden": [16, 8], "dropout": 0.2},
    Architecture.CNN: {"channels": [8, 16], "dropout": 0.2},
    Architecture.VGG: {"depth": 11, "width": 8},
    Architecture.RESNET: {"depth": 8},
    Architecture.DENSENET: {"depth": 10, "growth": 8, "bottleneck": True, "compression": 1.0, "dropout": 0.2},
    Architecture.INCEPTION: {"width": 0.125},
    Architecture.LSTM: {"hidden": [8], "dropout": 0.2},
    Architecture.GRU: {"hidden": [8]},
    Architecture.TRANSFORMER: {"features": 16, "hidden": 16, "heads": 2, "depth": 1, "patch": 8, "dropout": 0.1},
    Architecture.SEQUENTIAL: {
        "layers": [
            {"name": "conv", "channels": 8, "kernel": 3, "stride": 2},
            {"name": "norm"},
            {"name": "activation", "activation": "relu"},
            {
                "name": "residual",
                "layers": [
                    {"name": "conv", "channels": 8, "kernel": 3, "padding": 1},
                    {"name": "norm"},
                    {"name": "activation", "activation": "relu"},
                ],
            },
            {"name": "pool", "pool": "avg", "kernel": 3},
            {"name": "flatten"},
            {"name": "dropout", "p": 0.1},
            {"name": "linear", "units": CLASSES},
        ]
    },
}

OPTIONS: dict[str, dict[str, Any]] = {
    NormName.GHOST_BATCH: {"size": 4},
    NormName.GROUP: {"groups": 4},
    NormName.WEIGHT_STANDARDIZATION: {"groups": 4},
    NormName.EVONORM_S0: {"groups": 4},
}


#: Nothing but the means of an instance norm would go on from its last site: the spec is refused.
REFUSED = {
    (name.value, NormName.INSTANCE.value, Position.AFTER_ACTIVATION.value)
    for name in (Architecture.CNN, Architecture.DENSENET, Architecture.INCEPTION)
}


#: Networks in which weight standardization alone trains for a step; in deeper ones values overflow before long,
#: which the spec has a warning of.
ALONE = (Architecture.MLP, Architecture.CNN, Architecture.TRANSFORMER, Architecture.SEQUENTIAL)


def standardized_alone() -> Iterator[tuple[str, str, str]]:
    """Those networks with weight standardization, to be made without groups, at every position that they have."""
    for architecture in ALONE:
        for position in architectures()[architecture].positions:
            yield architecture.value, NormName.WEIGHT_STANDARDIZATION.value, position.value


def combinations() -> Iterator[tuple[str, str, str]]:
    """Every network with every norm that it takes, at every position that it has, but for those refused."""
    for architecture, info in architectures().items():
        for norm in info.norms:
            placed = "position" in norm_fields(norm)
            for position in info.positions if placed and info.positions else (Position.AUTO,):
                combination = (str(architecture), str(norm), str(position))
                if combination not in REFUSED:
                    yield combination


def norm_fields(norm: str) -> set[str]:
    """The options of a norm, and its position where it has one."""
    from db.spec.norms.union import PARTS

    part = next(part for part in PARTS if norm in part.model_fields["name"].annotation.__args__)
    return set(part.model_fields)


def small_network(architecture: str, norm: str, position: str = "auto", **options: Any) -> JobSpec:
    """A job of one step on images of 32x32; `options` are the norm's."""
    placed = {} if position == "auto" else {"position": position}
    values = {
        "dataset": {"name": "cifar10"},
        "architecture": {"name": architecture, **SMALL[architecture]},
        "norm": {"name": norm, **OPTIONS.get(norm, {}), **placed, **options},
        "optimizer": {"name": "SGD", "lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4},
        "batch_size": BATCH,
        "steps": 1,
        "device": "cpu",
        "evaluate": {"train_samples": SAMPLES},
    }
    return JobSpec.model_validate(values).resolved()


def noise_images() -> CachedData:
    """Images of the shape of CIFAR-10 without anything to see."""
    generator = np.random.default_rng(0)

    def images(count: int) -> np.ndarray:
        return generator.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)

    def targets(count: int) -> np.ndarray:
        return generator.integers(0, CLASSES, count)

    arrays = Arrays(
        train_inputs=images(SAMPLES),
        train_targets=targets(SAMPLES),
        test_inputs=images(BATCH),
        test_targets=targets(BATCH),
    )
    return CachedData(arrays=arrays, digest="")
