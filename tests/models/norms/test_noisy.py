"""Noisy batch norm against the law of its noise (science.md section 7, item 6)."""

import pytest
import torch
from torch import Tensor

from models.norms.batch import BatchNorm
from models.norms.noisy import NoiseAlone, NoisyBatchNorm, noisy_batch_norm
from tests.models.norms.checks import (
    SHAPES,
    gradients_are_right,
    outputs_and_gradients,
    sample,
    with_random_state,
)

DRAWS = 100_000
#: Other than the defaults and different from one another, so that none can stand in for another.
LAW = {"n_mu": 0.7, "n_sigma": 1.8, "r_mu": 0.3, "r_sigma": 0.2}
SILENT = {"n_mu": 0.0, "n_sigma": 1.0, "r_mu": 0.0, "r_sigma": 0.0}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(11)


def noise(shape, *, of: float, kind=NoisyBatchNorm, **law: float) -> Tensor:
    """s * of + m: what the layer makes of the constant `of`. (C, values)."""
    norm = kind(shape[1], **law).double()
    torch.nn.init.zeros_(norm.weight)
    torch.nn.init.constant_(norm.bias, of)
    return norm(sample(shape)).detach().movedim(1, 0).flatten(1)


def assert_near(found: float, expected: float, deviation: float) -> None:
    """Within four standard errors of a mean over the draws."""
    assert abs(found - expected) < 4 * deviation / DRAWS**0.5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_without_noise_it_is_batch_norm_exactly(shape):
    noisy, batch = with_random_state(NoisyBatchNorm(3, **SILENT)), with_random_state(BatchNorm(3))
    found, expected = (outputs_and_gradients(norm, sample(shape)) for norm in (noisy, batch))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_eval_mode_is_batch_norms_and_has_no_noise(shape):
    noisy, batch = with_random_state(NoisyBatchNorm(3)), with_random_state(BatchNorm(3))
    assert torch.equal(noisy.eval()(sample(shape)), batch.eval()(sample(shape)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_with_its_noise_off_train_mode_is_batch_norms_and_draws_nothing(shape):
    noisy, batch = with_random_state(NoisyBatchNorm(3)), with_random_state(BatchNorm(3))
    before, noisy.noise = torch.get_rng_state(), False
    found, expected = (outputs_and_gradients(norm, sample(shape)) for norm in (noisy, batch))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    noisy.noise = True
    assert not torch.equal(noisy(sample(shape)), expected[0])


def test_the_noise_comes_after_the_moments_are_taken():
    noisy, batch = NoisyBatchNorm(3).double(), BatchNorm(3).double()
    noisy(sample((8, 3)))
    batch(sample((8, 3)))
    assert torch.equal(noisy.batch_mean, batch.batch_mean)
    assert torch.equal(noisy.batch_var, batch.batch_var)


def test_every_forward_pass_has_noise_of_its_own():
    norm = NoisyBatchNorm(3)
    x = sample((8, 3), dtype=torch.float32)
    assert (norm(x) - norm(x)).abs().min() > 0


def test_shifts_have_the_mean_and_variance_of_the_law():
    m = noise((2, DRAWS), of=0.0, **LAW)[:, 0]  # one value of each channel: independent draws
    variance = (LAW["n_mu"] ** 2 + LAW["r_mu"] ** 2) / 3
    assert_near(m.mean().item(), 0, variance**0.5)
    assert_near(m.square().mean().item(), variance, m.square().std().item())
    assert m.abs().max() <= LAW["n_mu"] + LAW["r_mu"]


def test_scales_have_the_mean_and_variance_of_the_law():
    s = noise((2, DRAWS), of=1.0, **LAW | {"n_mu": 0.0, "r_mu": 0.0})[:, 0]
    expected = (1 + LAW["n_sigma"]) / 2
    variance = (LAW["n_sigma"] - 1) ** 2 / 12 + LAW["r_sigma"] ** 2
    assert_near(s.mean().item(), expected, variance**0.5)
    squares = (s - expected).square()
    assert_near(squares.mean().item(), variance, squares.std().item())


@pytest.mark.parametrize("shape", [(DRAWS, 2), (100, 2, 40, 25)], ids=["vectors", "images"])
def test_mu_and_sigma_are_of_a_channel_and_the_rest_of_each_value(shape):
    for of, limits, spread in ((0.0, (-0.7, 0.7), 0.3 / 3**0.5), (1.0, (1.0, 1.8), 0.2)):
        law = LAW | ({"n_mu": 0.0, "r_mu": 0.0} if of else {})
        values = noise(shape, of=of, **law)
        middle = values.mean(1)
        assert (middle >= limits[0] - 0.01).all()
        assert (middle <= limits[1] + 0.01).all()
        assert (middle[0] - middle[1]).abs() > 0.01  # a draw for each channel
        torch.testing.assert_close(values.std(1), torch.full((2,), spread).double(), rtol=0.01, atol=0)
        # Neighbours, in a row or in different samples, have nothing to do with one another.
        centred = (values - middle[:, None]) / spread
        for lag in (1, 25, 1000):
            assert (centred[:, lag:] * centred[:, :-lag]).mean(1).abs().max() < 5 / DRAWS**0.5


def test_gradients_are_right_for_fixed_noise():
    norm = with_random_state(NoisyBatchNorm(3))
    assert gradients_are_right(norm, sample((5, 3, 2)))
    assert gradients_are_right(norm.eval(), sample((5, 3, 2)))


def test_the_noise_is_that_of_the_seed():
    norm, outputs = NoisyBatchNorm(3), []
    for _ in range(2):
        torch.manual_seed(5)
        outputs.append(norm(sample((8, 3), dtype=torch.float32)))
    assert torch.equal(*outputs)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_noise_alone_leaves_eval_mode_scale_and_shift(shape, affine):
    norm, x = with_random_state(NoiseAlone(3, affine=affine)).eval(), sample(shape)
    weight, bias = (norm.weight, norm.bias) if affine else (torch.ones(3), torch.zeros(3))
    expected = torch.einsum("nc...,c->nc...", x, weight) + bias.view(-1, *[1] * (len(shape) - 2))
    torch.testing.assert_close(norm(x), expected)
    assert not list(norm.buffers())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_noise_alone_is_the_noise_of_batch_norm_on_values_as_they_are(shape):
    """Both draw the same: a = s * y + m, so that what they make of their own y is alike."""
    alone, x = NoiseAlone(3, **LAW).double(), sample(shape)
    noisy = NoisyBatchNorm(3, **LAW).double()
    y = noisy.eval()(x)  # running averages of mean 0 and variance 1: x but for eps
    torch.manual_seed(3)
    found = alone(y)
    torch.manual_seed(3)
    assert torch.equal(found, noisy.law.on(y))
    assert (found - y).abs().min() > 0


def test_noise_alone_has_the_law_of_the_noise():
    s = noise((2, DRAWS), of=1.0, kind=NoiseAlone, **LAW | {"n_mu": 0.0, "r_mu": 0.0})[:, 0]
    assert_near(s.mean().item(), (1 + LAW["n_sigma"]) / 2, s.std().item())


def test_gradients_of_noise_alone_are_right_and_none_is_of_the_noise():
    norm = with_random_state(NoiseAlone(3))
    assert gradients_are_right(norm, sample((5, 3, 2)))
    silent = with_random_state(NoiseAlone(3, **SILENT))
    found, expected = (outputs_and_gradients(each, sample((8, 3))) for each in (silent, silent.eval()))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_noise_alone_keeps_the_number_type_of_its_inputs():
    assert NoiseAlone(3)(sample((8, 3), dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize(("normalize", "kind"), [(True, NoisyBatchNorm), (False, NoiseAlone)])
def test_the_option_chooses_the_layer_and_both_get_the_law(normalize, kind):
    norm = noisy_batch_norm(3, normalize=normalize, affine=False, **LAW)
    assert type(norm) is kind
    assert norm.weight is None
    assert f"n_mu={LAW['n_mu']}" in repr(norm)
    assert f"r_sigma={LAW['r_sigma']}" in repr(norm)
