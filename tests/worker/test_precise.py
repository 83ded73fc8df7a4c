"""Population statistics."""

import pytest
import torch
from torch import Tensor, nn

from models.norms.batch import BatchNorm
from models.norms.noisy import NoisyBatchNorm
from tests.worker.support import assert_same_state, full_state, trained
from worker import precise
from worker.precise import Population

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-10}
FEATURES = 6


def network(dtype=torch.float64, norm: type[BatchNorm] = BatchNorm) -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Linear(FEATURES, 5, bias=False),
        norm(5),
        nn.Tanh(),
        nn.Dropout(0.5),
        nn.Linear(5, 4, bias=False),
        norm(4),
    ).to(dtype)


def norms_of(model: nn.Module) -> list[BatchNorm]:
    return [module for module in model.modules() if isinstance(module, BatchNorm)]


def data(count: int, dtype=torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    drift = torch.linspace(0, 3, count, dtype=dtype)[:, None]  # batches that differ in their means
    return torch.randn(count, FEATURES, generator=generator, dtype=dtype) + drift


def ragged(x: Tensor, sizes: list[int]) -> list[tuple[Tensor, Tensor]]:
    return [(part, torch.zeros(len(part))) for part in x.split(sizes)]


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("sizes", [[97], [50, 47], [32, 32, 33], [2, 3, 90, 2], [7] * 13 + [6]], ids=str)
def test_the_first_norms_statistics_are_exact_for_batches_of_any_size(sizes, dtype):
    model, x = network(dtype), data(97, dtype)
    found = precise.estimate(model, norms_of(model), ragged(x, sizes))[0]
    taken = model[0](x).detach().double()
    torch.testing.assert_close(found["mean"].double(), taken.mean(0), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    torch.testing.assert_close(found["var"].double(), taken.var(0), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_images_are_weighted_by_their_positions():
    model = nn.Sequential(BatchNorm(3)).double()
    x = torch.randn(10, 3, 4, 5, dtype=torch.float64) + torch.arange(10)[:, None, None, None]
    (found,) = precise.estimate(model, norms_of(model), ragged(x, [4, 6]))
    channels = x.movedim(1, 0).flatten(1)
    torch.testing.assert_close(found["mean"], channels.mean(1), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found["var"], channels.var(1), rtol=1e-10, atol=1e-10)


def test_one_batch_of_everything_is_exact_for_every_norm():
    model, x = network(), data(60)
    found = precise.estimate(model, norms_of(model), ragged(x, [60]))
    with precise.batch_statistics(model, norms_of(model)):
        model(x)
        for population, norm in zip(found, norms_of(model), strict=True):
            torch.testing.assert_close(population["mean"], norm.batch_mean, rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(population["var"], norm.batch_var, rtol=1e-10, atol=1e-10)


def test_a_channel_that_never_changes_has_variance_zero_and_not_less():
    model = nn.Sequential(BatchNorm(2))
    x = torch.full((1000, 2), 1234.567)
    (found,) = precise.estimate(model, norms_of(model), ragged(x, [10] * 100))
    assert (found["var"] >= 0).all()
    torch.testing.assert_close(found["var"], torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-3)


@pytest.mark.parametrize("training", [True, False], ids=["train mode", "eval mode"])
def test_an_estimate_leaves_parameters_running_averages_mode_and_generators_alone(training):
    model = network().train(training)
    before = full_state(model)
    precise.estimate(model, norms_of(model), ragged(data(40), [20, 20]))
    assert_same_state(full_state(model), before)


def test_renormalized_networks_are_measured_without_the_correction_towards_averages_that_lag(digits):
    """Twenty steps leave the running averages of a deep network far behind."""
    norm = {"name": "batch_renorm"}
    architecture = {"name": "mlp", "hidden": [100] * 6}
    run, _ = trained(digits, norm=norm, architecture=architecture, batch_size=60, steps=20)
    metrics = run.evaluator.evaluate().metrics
    assert metrics["gap/precise/loss"] < 1
    assert metrics["gap/precise/loss"] < metrics["gap/train_mode_large/loss"]  # which is corrected, as in training
    assert all(norm.corrects for norm in run.averages.norms)


def populations(model: nn.Module) -> list[Population]:
    return [
        {"mean": torch.rand_like(norm.running_mean), "var": torch.rand_like(norm.running_var) + 1}
        for norm in norms_of(model)
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_substituted_statistics_are_used_and_then_given_back_bit_by_bit(fails):
    model = network().eval()
    with torch.no_grad():
        for norm in norms_of(model):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    chosen = populations(model)
    before = full_state(model)
    outside = model(data(5))
    try:
        with precise.substituted(norms_of(model), chosen):
            assert torch.equal(norms_of(model)[1].running_mean, chosen[1]["mean"])
            assert torch.equal(norms_of(model)[0].running_var, chosen[0]["var"])
            assert not torch.equal(model(data(5)), outside)
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert_same_state(full_state(model), before)
    assert torch.equal(model(data(5)), outside)


@pytest.mark.parametrize("training", [True, False], ids=["train mode", "eval mode"])
def test_batch_statistics_normalize_by_the_batch_with_dropout_off_and_leave_buffers_and_mode(training):
    model, x = network().train(training), data(30)
    before = full_state(model)
    with precise.batch_statistics(model, norms_of(model)):
        y = model(x)
        assert torch.equal(model(x), y)  # a dropout would have drawn anew
        torch.testing.assert_close(y.mean(0), torch.zeros(4, dtype=y.dtype), rtol=0, atol=1e-10)
    assert_same_state(full_state(model), before)


def test_population_statistics_of_noisy_norms_are_those_without_noise():
    noisy, plain, x = network(norm=NoisyBatchNorm), network(), data(60)
    before = torch.get_rng_state()
    # The second norm's inputs have come through the first one.
    for found, expected in zip(
        precise.estimate(noisy, norms_of(noisy), ragged(x, [20, 40])),
        precise.estimate(plain, norms_of(plain), ragged(x, [20, 40])),
        strict=True,
    ):
        assert all(torch.equal(value, expected[moment]) for moment, value in found.items())
    assert torch.equal(torch.get_rng_state(), before)


def test_batch_statistics_are_without_noise_and_give_each_norm_its_own_back():
    noisy, plain, x = network(norm=NoisyBatchNorm), network(), data(30)
    norms_of(noisy)[1].noise = False
    with precise.batch_statistics(noisy, norms_of(noisy)), precise.batch_statistics(plain, norms_of(plain)):
        assert torch.equal(noisy(x), plain(x))
    assert [norm.noise for norm in norms_of(noisy)] == [True, False]
    assert not torch.equal(norms_of(noisy.train())[0](x[:, :5]), norms_of(plain.train())[0](x[:, :5]))


def test_the_mode_is_restored_when_a_batch_cannot_be_used():
    model = network().train()
    with pytest.raises(ValueError, match="more than 1 value"):
        precise.estimate(model, norms_of(model), ragged(data(3), [2, 1]))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(norm.noise for norm in norms_of(model))
