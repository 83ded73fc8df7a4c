"""Batch norm trains at learning rates at which nothing trains without it: Ioffe & Szegedy 2015, section 3.3."""

import pytest

from tests.targets.support import last, trained
from worker.errors import Diverged

#: Of the network without batch norm: powers of ten, up to one at which it does not train.
RATES = (0.01, 0.1, 1.0)
LEARNED = 0.85


def accuracy(data, norm: str, lr: float, seed: int) -> float:
    """Of ten layers after 500 steps; 0 if they diverge."""
    try:
        _, kept = trained(
            data,
            dataset={"name": "mnist"},
            architecture={"name": "mlp", "hidden": [64] * 10, "init": {"name": "xavier_uniform"}},
            norm={"name": norm},
            optimizer={"name": "SGD", "lr": lr},
            batch_size=128,
            steps=500,
            seed=seed,
            evaluate={"every": 10**9, "modes": []},
        )
    except Diverged:
        return 0.0
    return last(kept, "test/accuracy")


@pytest.mark.usefixtures("only_long")
def test_it_trains_at_ten_and_thirty_times_the_largest_power_of_ten_without_it(mnist, seed):
    without = {lr: accuracy(mnist, "none", lr, seed) for lr in RATES}
    assert without[1.0] < LEARNED
    largest = max(lr for lr, found in without.items() if found >= LEARNED)
    for factor in (10, 30):
        assert accuracy(mnist, "batch", factor * largest, seed) >= LEARNED, (factor, without)
