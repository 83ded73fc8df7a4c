"""Small batches of a convolutional network, which has many values of each channel in a sample.

It does not fail as a perceptron does (Wu & He 2018, arXiv 1803.08494); it only becomes worse.
"""

from itertools import pairwise
from statistics import median

import pytest

from tests.targets.support import last, trained


def accuracy(data, batch_size: int, seed: int) -> float:
    """After two passes, with one learning rate for each sample."""
    _, kept = trained(
        data,
        dataset={"name": "cifar10", "train_limit": 8000, "standardize": True},
        architecture={"name": "cnn", "channels": [16, 32, 32]},
        norm={"name": "batch"},
        optimizer={"name": "SGD", "lr": 0.1 / 32 * batch_size},
        batch_size=batch_size,
        epochs=2,
        seed=seed,
        evaluate={"every": 10**9, "modes": []},
    )
    return last(kept, "test/accuracy")


@pytest.mark.usefixtures("only_long")
def test_batch_norm_becomes_worse_with_smaller_batches_and_does_not_fail(cifar10, seeds):
    found = {size: [accuracy(cifar10, size, seed) for seed in seeds] for size in (32, 8, 2)}
    assert all(larger > smaller for larger, smaller in pairwise(map(median, found.values()))), found
    assert min(found[2]) > 0.3, "three times what guessing comes to"
