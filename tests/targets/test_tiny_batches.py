"""Batch norm on batches of two, where layer norm trains well, and what population statistics can do about it.

Wu & He 2018 (arXiv 1803.08494) and Wu & Johnson 2021 (arXiv 2105.07576), on a perceptron.
"""

from statistics import median

import pytest

from tests.targets.support import SEEDS, last, trained

#: One learning rate for each sample.
LR_PER_SAMPLE = 0.2 / 32


def accuracies(data, norm: str, *, batch_size: int, samples: int) -> list[dict[str, float]]:
    """Of one pass over so many samples, for each seed."""
    results = []
    for seed in SEEDS:
        _, kept = trained(
            data,
            dataset={"name": "mnist", "train_limit": samples},
            architecture={"name": "mlp", "hidden": [100, 100, 100]},
            norm={"name": norm},
            optimizer={"name": "SGD", "lr": LR_PER_SAMPLE * batch_size},
            batch_size=batch_size,
            epochs=1,
            seed=seed,
            evaluate={"every": 10**9, "modes": ["precise"]},
        )
        results.append({name: last(kept, name) for name in ("test/accuracy", "test/precise/accuracy")})
    return results


@pytest.fixture(scope="module")
def batch_norm_on_two(mnist):
    return accuracies(mnist, "batch", batch_size=2, samples=12_000)


def test_batch_norm_fails_on_batches_of_two_and_layer_norm_does_not(mnist, batch_norm_on_two):
    layer_norm = accuracies(mnist, "layer", batch_size=2, samples=12_000)
    assert max(each["test/accuracy"] for each in batch_norm_on_two) < 0.6
    assert min(each["test/accuracy"] for each in layer_norm) > 0.9


def test_on_batches_of_32_they_are_alike(mnist):
    norms = (accuracies(mnist, name, batch_size=32, samples=60_000) for name in ("batch", "layer"))
    for batch, layer in zip(*norms, strict=True):
        assert abs(batch["test/accuracy"] - layer["test/accuracy"]) < 0.02


def test_population_statistics_help_batch_norm_on_two_a_little_and_do_not_rescue_it(batch_norm_on_two):
    gains = [each["test/precise/accuracy"] - each["test/accuracy"] for each in batch_norm_on_two]
    assert median(gains) >= 0, gains
    assert max(each["test/precise/accuracy"] for each in batch_norm_on_two) < 0.6
