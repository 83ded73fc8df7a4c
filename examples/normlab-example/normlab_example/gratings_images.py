"""The images of the data set `gratings`; only workers import it."""

import numpy as np
from numpy.typing import NDArray

from worker.data.arrays import Arrays

CLASSES, SIDE = 8, 16
TRAIN, TEST = 1600, 400
SEED = 0


def load() -> Arrays:
    """Stripes in eight directions, of random phase and width, under noise."""
    targets = np.arange(TRAIN + TEST, dtype=np.int64) % CLASSES
    inputs = _stripes(targets)[:, None]
    return Arrays(
        train_inputs=inputs[:TRAIN],
        train_targets=targets[:TRAIN],
        test_inputs=inputs[TRAIN:],
        test_targets=targets[TRAIN:],
    )


def _stripes(targets: NDArray[np.int64]) -> NDArray[np.uint8]:
    """One image for each target. (N,) to (N, side, side)."""
    random = np.random.default_rng(SEED)
    ones = np.ones((len(targets), 1, 1))
    angle = np.pi / CLASSES * targets.reshape(ones.shape)
    phase, radians_per_pixel = random.uniform(0, 2 * np.pi, ones.shape), random.uniform(0.8, 1.2, ones.shape)
    y, x = np.mgrid[:SIDE, :SIDE]
    waves = np.sin(radians_per_pixel * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    noise = random.uniform(-1, 1, waves.shape)
    images: NDArray[np.uint8] = np.round(255 * (0.5 + 0.25 * waves + 0.25 * noise)).astype(np.uint8)
    return images
