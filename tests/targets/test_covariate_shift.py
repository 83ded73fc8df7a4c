"""Santurkar et al. 2018 (arXiv 1805.11604), section 2.2: gradients shift more with batch norm and train better."""

import numpy as np
import pytest

from db.datasets import DATASETS
from tests.targets.support import trained
from worker.data import cache


@pytest.fixture(scope="module")
def gaussian_linear(decoded):
    """The problem of the deep linear network, which the service makes itself."""
    return cache.load(DATASETS["gaussian_linear"], binarize=False, data_dir=decoded, cache=decoded)


def trained_deep_and_linear(data, norm: str, seed: int, steps: int) -> tuple[np.ndarray, float]:
    """Cosines of all layers at each of four measurements, and the last loss.

    25 layers, which see all data at each step.
    """
    _, kept = trained(
        data,
        dataset={"name": "gaussian_linear"},
        architecture={
            "name": "mlp",
            "hidden": [10] * 24,
            "activation": "linear",
            "init": {"name": "xavier_uniform"},
        },
        norm={"name": norm},
        optimizer={"name": "SGD", "lr": 1e-7},
        loss={"reduction": "sum"},
        batch_size=1000,
        steps=steps,
        seed=seed,
        evaluate={"every": 10**9, "modes": []},
        probes=[{"name": "covariate_shift", "every": steps // 4}],
    )
    rows = [values for _, values in kept.probes["covariate_shift"]]
    cosines = [[value for name, value in row.items() if name.endswith("/cosine")] for row in rows]
    return np.array(cosines), float(kept.series("train/loss")[-1])


def test_gradients_hold_still_without_batch_norm_turn_with_it_and_train_better(gaussian_linear, seed, long):
    steps = 800 if long else 200
    without, loss_without = trained_deep_and_linear(gaussian_linear, "none", seed, steps)
    cosines, loss = trained_deep_and_linear(gaussian_linear, "batch", seed, steps)
    assert without.shape == cosines.shape == (4, 24)
    assert without.min() > 0.95
    assert cosines.min() < 0.5
    assert loss < loss_without
