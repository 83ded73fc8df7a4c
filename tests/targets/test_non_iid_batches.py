"""Batches of two classes each: what batch norm learns there, eval mode has not.

Wu & Johnson 2021 (arXiv 2105.07576), on a perceptron.
"""

from tests.targets.support import last, trained


def accuracy(data, norm: str, seed: int) -> float:
    _, kept = trained(
        data,
        dataset={"name": "mnist", "train_limit": 60_000, "classes_per_batch": 2},
        architecture={"name": "mlp", "hidden": [100, 100, 100]},
        norm={"name": norm},
        batch_size=32,
        epochs=1,
        seed=seed,
        evaluate={"every": 10**9, "modes": []},
    )
    return last(kept, "test/accuracy")


def test_layer_norm_is_better_by_three_points(mnist, seed):
    assert accuracy(mnist, "layer", seed) - accuracy(mnist, "batch", seed) > 0.03
