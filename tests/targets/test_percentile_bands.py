"""Ioffe & Szegedy 2015, figures 1b and 1c: without batch norm what the last sigmoids get drifts."""

import numpy as np

from tests.targets.support import trained

#: Before this step the networks only begin to learn.
FROM_STEP = 600


def band_widths(data, norm: str, seed: int, steps: int) -> np.ndarray:
    """Of the last sigmoids' inputs, from the 15th to the 85th percentile: the median over units, by step."""
    _, kept = trained(
        data,
        dataset={"name": "mnist", "binarize": True, "test_limit": 100},
        architecture={
            "name": "mlp",
            "hidden": [100, 100, 100],
            "activation": "sigmoid",
            "init": {"name": "normal", "std": 0.1},
        },
        norm={"name": norm},
        batch_size=60,
        steps=steps,
        seed=seed,
        statistics={"every": 100, "percentiles": [15, 50, 85], "units": {"norm3": list(range(100))}},
        evaluate={"every": 10**9, "modes": []},
    )
    rows = kept.sites["norm3"]
    recorded = np.concatenate([steps for steps, _, _ in rows])
    low, high = (np.concatenate([percentiles[name] for _, _, percentiles in rows]) for name in ("15", "85"))
    return np.median(high - low, axis=1)[recorded >= FROM_STEP]


def test_the_band_widens_many_times_without_batch_norm_and_hardly_with_it(binary_mnist, seed, long):
    ratio = {}
    for norm in ("none", "batch"):
        widths = band_widths(binary_mnist, norm, seed, 4000 if long else 2000)
        ratio[norm] = widths.max() / widths.min()
    assert ratio["none"] >= 5, ratio
    assert ratio["batch"] <= 2, ratio
