"""Batch norm on batches of two, where layer norm trains well, and what can be done about it.

Wu & He 2018 (arXiv 1803.08494), Wu & Johnson 2021 (arXiv 2105.07576) and Ioffe 2017 (arXiv 1702.03275), on a
perceptron; the other way round, batch norm on parts of a large batch: Hoffer et al. 2017 (arXiv 1705.08741).
"""

from functools import cache
from statistics import median
from typing import Any

import pytest

from tests.targets.support import last, trained

#: One learning rate for each sample.
LR_PER_SAMPLE = 0.2 / 32
#: Fewer on batches of two, of which they are many steps.
FEW, ALL = 12_000, 60_000


@pytest.fixture(scope="module")
def accuracies(mnist, seeds):
    """Of one pass over so many samples with a norm, for each seed; each is trained once."""

    @cache
    def of(norm: str, *, batch_size: int, samples: int, **options: Any) -> list[dict[str, float]]:
        results = []
        for seed in seeds:
            _, kept = trained(
                mnist,
                dataset={"name": "mnist", "train_limit": samples},
                architecture={"name": "mlp", "hidden": [100, 100, 100]},
                norm={"name": norm, **options},
                optimizer={"name": "SGD", "lr": LR_PER_SAMPLE * batch_size},
                batch_size=batch_size,
                epochs=1,
                seed=seed,
                evaluate={"every": 10**9, "modes": ["precise"]},
            )
            names = [name for name in (EVAL, PRECISE) if name in kept.streams["evaluation"][-1][1]]
            results.append({name: last(kept, name) for name in names})
        return results

    return of


EVAL, PRECISE = "test/accuracy", "test/precise/accuracy"


def test_batch_norm_fails_on_batches_of_two_and_layer_norm_does_not(accuracies):
    batch, layer = (accuracies(name, batch_size=2, samples=FEW) for name in ("batch", "layer"))
    assert max(each[EVAL] for each in batch) < 0.6
    assert min(each[EVAL] for each in layer) > 0.9


def test_on_batches_of_32_they_are_alike(accuracies):
    norms = (accuracies(name, batch_size=32, samples=ALL) for name in ("batch", "layer"))
    for batch, layer in zip(*norms, strict=True):
        assert abs(batch[EVAL] - layer[EVAL]) < 0.02


def test_population_statistics_help_batch_norm_on_two_a_little_and_do_not_rescue_it(accuracies):
    batch = accuracies("batch", batch_size=2, samples=FEW)
    gains = [each[PRECISE] - each[EVAL] for each in batch]
    assert median(gains) >= 0, gains
    assert max(each[PRECISE] for each in batch) < 0.6


@pytest.mark.usefixtures("only_long")
def test_renormalization_helps_on_two_by_fifteen_points(accuracies):
    norms = (accuracies(name, batch_size=2, samples=FEW) for name in ("batch", "batch_renorm"))
    for batch, renorm in zip(*norms, strict=True):
        assert renorm[EVAL] - batch[EVAL] >= 0.15


def test_parts_of_32_do_as_well_as_the_batch_of_128(accuracies):
    batch = accuracies("batch", batch_size=128, samples=ALL)
    ghost = accuracies("ghost_batch", batch_size=128, samples=ALL, size=32)
    for whole, parts in zip(batch, ghost, strict=True):
        assert abs(parts[EVAL] - whole[EVAL]) <= 0.015
