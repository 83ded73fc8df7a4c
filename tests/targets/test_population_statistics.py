"""Population statistics in the place of running averages that lag.

Wu & Johnson 2021 (arXiv 2105.07576): a moving average of a training that is short or fast is not what
the network has at its end.
"""

import pytest

from tests.targets.support import last, trained


def test_they_close_the_gap_that_too_small_a_momentum_leaves(mnist, seed):
    _, kept = trained(
        mnist,
        dataset={"name": "mnist"},
        architecture={"name": "mlp", "hidden": [100, 100, 100]},
        norm={"name": "batch", "momentum": 0.001},
        batch_size=32,
        steps=200,
        seed=seed,
    )
    evaluated, batch, population = (last(kept, f"gap/{name}/accuracy") for name in MODES)
    assert batch - evaluated > 0.02, "there is no gap to close"
    assert population - evaluated >= 0.8 * (batch - evaluated)


MODES = ("eval_mode", "train_mode", "precise")


@pytest.mark.usefixtures("only_long")
def test_they_improve_a_convolutional_network_that_was_trained_fast(cifar10, seed):
    _, kept = trained(
        cifar10,
        dataset={"name": "cifar10", "train_limit": 8000, "standardize": True, "test_limit": 2000},
        architecture={"name": "cnn", "channels": [16, 32, 32]},
        norm={"name": "batch"},
        batch_size=32,
        steps=500,
        seed=seed,
        evaluate={"every": 10**9, "modes": ["precise"]},
    )
    assert last(kept, "test/precise/accuracy") - last(kept, "test/accuracy") >= 0.01
