"""Batch renormalization against its definition (science.md section 7, item 5)."""

import pytest
import torch
from torch import Tensor

from models.norms.base import per_channel
from models.norms.batch import BatchNorm
from models.norms.renorm import BatchRenorm
from models.norms.running import RunningAverages
from tests.models.norms.checks import (
    SHAPES,
    assert_same,
    channels,
    gradients_are_right,
    outputs_and_gradients,
    sample,
    with_random_state,
)

shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
#: Limits without a ramp.
AT_ONCE = {"r_begin": 0, "r_end": 0, "d_begin": 0, "d_end": 0}
NO_LIMIT = {"r_max": 1e6, "d_max": 1e6, **AT_ONCE}


def by_definition(norm: BatchRenorm, x: Tensor, r_max: float, d_max: float) -> Tensor:
    """Algorithm 1 of the paper, line by line."""
    mean = channels(x).mean(1)
    sigma = (channels(x).var(1, correction=0) + norm.eps).sqrt()
    r = (sigma / norm.running_std).detach().clamp(1 / r_max, r_max)
    d = ((mean - norm.running_mean) / norm.running_std).detach().clamp(-d_max, d_max)
    normalized = (x - per_channel(mean, x)) / per_channel(sigma, x) * per_channel(r, x) + per_channel(d, x)
    return per_channel(norm.weight, x) * normalized + per_channel(norm.bias, x)


@shapes
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
def test_without_room_for_corrections_it_is_batch_norm_bit_for_bit(shape, affine):
    options = {"eps": 1e-3, "affine": affine}
    norm = with_random_state(BatchRenorm(3, r_max=1.0, d_max=0.0, **options, **AT_ONCE))
    batch = with_random_state(BatchNorm(3, **options))
    found, expected = (outputs_and_gradients(each, sample(shape)) for each in (norm, batch))
    assert len(found) == (4 if affine else 2)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@shapes
def test_before_its_ramps_it_is_batch_norm(shape):
    norm, batch = with_random_state(BatchRenorm(3)), with_random_state(BatchNorm(3, eps=1e-3))
    assert torch.equal(norm(sample(shape)), batch(sample(shape)))


@shapes
def test_where_nothing_is_clipped_train_mode_is_the_function_of_eval_mode(shape):
    norm = with_random_state(BatchRenorm(3, **NO_LIMIT))
    x = sample(shape)
    in_eval_mode = norm.eval()(x)
    assert_same([norm.train()(x)], [in_eval_mode])
    expected = per_channel(norm.weight, x) * (x - per_channel(norm.running_mean, x)) / per_channel(
        norm.running_std, x
    ) + per_channel(norm.bias, x)
    assert_same([in_eval_mode], [expected])


@shapes
@pytest.mark.parametrize(("r_max", "d_max"), [(1e6, 1e6), (1.2, 0.3), (3.0, 0.0), (1.0, 5.0)])
@pytest.mark.parametrize("spread", [1.0, 0.05], ids=["wider than stored", "narrower than stored"])
def test_outputs_and_gradients_are_the_definitions_with_r_and_d_held_fast(shape, r_max, d_max, spread):
    norm = with_random_state(BatchRenorm(3, r_max=r_max, d_max=d_max, **AT_ONCE))
    x = sample(shape) * spread
    found = outputs_and_gradients(norm, x)

    class Definition(BatchRenorm):
        def forward(self, x):
            return by_definition(self, x, r_max, d_max)

    assert_same(found, outputs_and_gradients(with_random_state(Definition(3)), x))


def test_no_gradient_flows_through_the_corrections():
    # With it, the unclipped layer would be an affine map of each value and the gradients would not add up to 0.
    norm = with_random_state(BatchRenorm(3, **NO_LIMIT))
    _, gradient, *_ = outputs_and_gradients(norm, sample((8, 3)))
    _, of_eval_mode, *_ = outputs_and_gradients(norm.eval(), sample((8, 3)))
    assert of_eval_mode.sum(0).abs().min() > 1e-3
    assert gradient.sum(0).abs().max() < 1e-12


def test_gradients_are_right_where_both_corrections_are_clipped():
    norm = with_random_state(BatchRenorm(3, r_max=1.1, d_max=0.1, **AT_ONCE))
    x = sample((8, 3, 2)) * 5
    assert gradients_are_right(norm, x)
    assert gradients_are_right(norm.eval(), x)


def test_limits_grow_in_straight_lines_with_the_updates():
    norm = BatchRenorm(2, momentum=0.1, r_max=3.0, d_max=5.0, r_begin=2, r_end=6, d_begin=1, d_end=6)
    averages, limits = RunningAverages([norm]), []
    for seed in range(8):
        limits.append(norm.limits())
        norm(sample((4, 2), seed, torch.float32))
        averages.update()
    assert limits == [(1, 0), (1, 0), (1, 1), (1.5, 2), (2, 3), (2.5, 4), (3, 5), (3, 5)]


def test_a_ramp_of_no_length_is_a_step():
    norm = BatchRenorm(2, r_begin=3, r_end=3, d_begin=0, d_end=0)
    norm.seen = 2
    assert norm.limits() == (1, 5)
    norm.seen = 3
    assert norm.limits() == (3, 5)


def test_a_resumed_layer_goes_on_where_its_ramp_was():
    norm = BatchRenorm(2, r_begin=0, r_end=10, d_begin=0, d_end=10)
    norm.num_batches_tracked.fill_(5)
    RunningAverages([norm])
    assert norm.limits() == (2, 2.5)


@pytest.mark.parametrize("momentum", [0.01, 0.3, None], ids=str)
def test_what_is_averaged_is_the_deviation_and_not_its_square(momentum):
    norm = BatchRenorm(3, momentum=momentum).double()
    averages, mean, std = RunningAverages([norm]), torch.zeros(3).double(), torch.ones(3).double()
    for seed in range(6):
        x = sample((8, 3, 2), seed) * (seed + 1)
        norm(x)
        averages.update()
        share = 1 / (seed + 1) if momentum is None else momentum
        mean = (1 - share) * mean + share * channels(x).mean(1)
        std = (1 - share) * std + share * (channels(x).var(1, correction=0) + 1e-3).sqrt()
    assert_same([norm.running_mean, norm.running_std], [mean, std], 1e-12)


def test_corrections_use_the_averages_from_before_the_batch():
    class Moving(BatchRenorm):
        moves_itself = True

    norm, moving = (with_random_state(layer(3, **NO_LIMIT, momentum=0.5)) for layer in (BatchRenorm, Moving))
    x = sample((8, 3))
    assert torch.equal(norm(x), moving(x))
    assert not torch.equal(norm.running_std, moving.running_std)
    assert moving.seen == 1


def test_a_batch_of_one_value_per_channel_is_refused():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        BatchRenorm(3)(torch.zeros(1, 3))
