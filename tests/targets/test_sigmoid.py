"""A network of sigmoids that begins with small weights: Ioffe & Szegedy 2015, section 4.1, and with noise.

Santurkar et al. 2018 (arXiv 1805.11604), section 2.1: batch norm trains as well when noise shifts what follows it
at every step; the same noise without it does not train.
"""

from functools import cache
from typing import Any

import pytest

from tests.targets.support import Kept, last, trained

ACCURACY = "test/accuracy"


def sigmoids(data, norm: dict[str, Any], *, std: float, steps: int, seed: int, every: int = 10**9) -> Kept:
    """The paper's network on binary MNIST, evaluated after every so many steps and at the end."""
    _, kept = trained(
        data,
        dataset={"name": "mnist", "binarize": True},
        architecture={
            "name": "mlp",
            "hidden": [100, 100, 100],
            "activation": "sigmoid",
            "init": {"name": "normal", "std": std},
        },
        norm=norm,
        optimizer={"name": "SGD", "lr": 0.1},
        batch_size=60,
        steps=steps,
        seed=seed,
        evaluate={"every": every, "modes": []},
    )
    return kept


@pytest.fixture(scope="module")
def accuracy(binary_mnist, long):
    """Of a norm and a seed, from weights of N(0, 0.01^2); each is trained once."""
    steps = 3000 if long else 1500

    @cache
    def of(norm: str, seed: int, **options: Any) -> float:
        return last(sigmoids(binary_mnist, {"name": norm, **options}, std=0.01, steps=steps, seed=seed), ACCURACY)

    return of


def test_it_trains_with_batch_norm_alone(accuracy, seed):
    assert accuracy("none", seed) < 0.2
    assert accuracy("batch", seed) > 0.9


def test_noise_after_batch_norm_costs_next_to_nothing_and_without_it_prevents_training(accuracy, seed):
    assert abs(accuracy("noisy_batch", seed) - accuracy("batch", seed)) < 0.02
    assert accuracy("noisy_batch", seed, normalize=False) < 0.2


def test_batch_norm_comes_to_ninety_percent_in_a_third_of_the_steps(binary_mnist, seed):
    """From weights of N(0, 0.1^2), with which the network trains without batch norm too."""
    run = {"std": 0.1, "seed": seed, "every": 100}
    kept = sigmoids(binary_mnist, {"name": "batch"}, steps=1500, **run)
    evaluated = zip(kept.steps("evaluation"), kept.series(ACCURACY, "evaluation"), strict=True)
    reached = next(step for step, value in evaluated if value >= 0.9)
    without = sigmoids(binary_mnist, {"name": "none"}, steps=3 * reached, **run)
    assert without.series(ACCURACY, "evaluation").max() < 0.9, reached
