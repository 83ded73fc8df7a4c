"""Santurkar et al. 2018 (arXiv 1805.11604), figure 4: batch norm makes the loss's landscape smoother."""

import numpy as np
import pytest

from tests.targets.support import trained


def ranges(data, norm: str, seed: int) -> dict[str, float]:
    """Of the loss and of the gradient along the gradient, the median over a run; ten layers."""
    _, kept = trained(
        data,
        dataset={"name": "mnist", "test_limit": 100},
        architecture={
            "name": "mlp",
            "hidden": [64] * 10,
            "activation": "relu",
            "init": {"name": "xavier_uniform"},
        },
        norm={"name": norm},
        optimizer={"name": "SGD", "lr": 0.1},
        batch_size=128,
        steps=300,
        seed=seed,
        evaluate={"every": 10**9, "modes": []},
        probes=[{"name": "landscape", "every": 10}],
    )
    rows = [values for _, values in kept.probes["landscape"]]
    widths = {name: [row[f"{name}_max"] - row[f"{name}_min"] for row in rows] for name in ("loss", "gradient")}
    return {name: float(np.median(width)) for name, width in widths.items()}


@pytest.mark.usefixtures("only_long")
def test_batch_norm_narrows_the_ranges_of_loss_and_gradient_along_the_gradient(mnist, seed):
    none, batch = (ranges(mnist, norm, seed) for norm in ("none", "batch"))
    assert none["loss"] >= 5 * batch["loss"], (none, batch)
    assert none["gradient"] >= 2 * batch["gradient"], (none, batch)
