"""Scale and shift, the layer before each site and the activation beside it, against a look from outside."""

import numpy as np
import pytest
import torch
from torch import nn

from models.catalog.names import ActivationName, NormName
from models.neighbours import neighbours
from tests.db.support import make_spec
from tests.worker.networks import small_network
from tests.worker.recording import RATE, Recording
from tests.worker.support import trained
from worker.details import IDLE

TOLERANCES = [(torch.float32, {"rtol": 1e-4, "atol": 1e-7}), (torch.float64, {"rtol": 1e-10, "atol": 0})]
NETWORKS = [
    ("mlp", "auto"),
    ("mlp", "after_activation"),
    ("resnet", "auto"),
    ("densenet", "auto"),
    ("lstm", "auto"),
    ("gru", "auto"),
]


def recording_of(architecture: str, norm: str = "batch", dtype=torch.float64, **options) -> Recording:
    return Recording(small_network(architecture, norm, **options).blueprint(), dtype)


def watch(recording: Recording, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """A recorded step; the outputs of all activations."""
    given: dict[str, torch.Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _, inputs, output, name=name: given.update({name: output.detach()}))
        for name, module in recording.model.named_modules()
        if isinstance(module, nn.ReLU | nn.Sigmoid | nn.Tanh)
    ]
    recording.step(1, x)
    for hook in hooks:
        hook.remove()
    return given


@pytest.mark.parametrize(("dtype", "close"), TOLERANCES, ids=str)
@pytest.mark.parametrize(("architecture", "position"), NETWORKS)
def test_lengths_are_those_of_the_weights_before_the_step_and_of_their_gradients(
    architecture, position, dtype, close
):
    recording = recording_of(architecture, dtype=dtype, position=position)
    before = {name: weight.detach().clone() for name, weight in recording.model.named_parameters()}
    recording.step(1, recording.sample(8))
    gradients = {name: weight.grad for name, weight in recording.model.named_parameters()}
    rows = recording.flush()
    for site, beside in neighbours(recording.blueprint).items():
        found = {name: rows[site].moments.get(f"layer.{name}") for name in ("weight_norm", "gradient_norm")}
        if beside.layer is None:
            assert set(found.values()) == {None}
            continue
        weight = beside.layer if beside.layer in before else f"{beside.layer}.weight"
        part = slice(*beside.rows) if beside.rows else slice(None)
        np.testing.assert_allclose(found["weight_norm"], [before[weight][part].norm().item()], **close)
        np.testing.assert_allclose(found["gradient_norm"], [gradients[weight][part].norm().item()], **close)
        np.testing.assert_allclose(
            rows[site].moments["layer.effective_lr"], [RATE / found["weight_norm"][0] ** 2], **close
        )
        assert found["weight_norm"].shape == (1,)


@pytest.mark.parametrize("norm", [NormName.WEIGHT, NormName.SPECTRAL, NormName.WEIGHT_STANDARDIZATION])
def test_of_a_computed_weight_the_used_one_counts_and_the_gradients_of_what_is_behind(norm):
    options = {"groups": 4} if norm is NormName.WEIGHT_STANDARDIZATION else {}
    looked_at, plain = (recording_of("cnn", norm, **options) for _ in range(2))
    x = looked_at.sample(8)
    used = {}
    for name, module in plain.model.named_modules():
        if name.endswith("parametrizations.weight"):
            module.register_forward_hook(
                lambda _, inputs, output, name=name: used.update({name: output.detach().clone()})
            )
    for recording in (plain, looked_at):
        torch.manual_seed(1)  # dropout
        recording.step(1, x, recorded=recording is looked_at)
    rows = looked_at.flush()
    for site, beside in neighbours(looked_at.blueprint).items():
        found = rows[site].moments
        behind = dict(looked_at.model.get_submodule(f"{beside.layer}.parametrizations.weight").named_parameters())
        gradient = sum(weight.grad.square().sum().item() for weight in behind.values()) ** 0.5
        length = used[f"{beside.layer}.parametrizations.weight"].norm().item()
        np.testing.assert_allclose(found["layer.weight_norm"], [length], rtol=1e-10)
        np.testing.assert_allclose(found["layer.gradient_norm"], [gradient], rtol=1e-10)
    # To look at it has moved nothing, not even spectral norm's estimate.
    for one, other in zip(plain.model.state_dict().values(), looked_at.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("activation", [ActivationName.RELU, ActivationName.SIGMOID, ActivationName.TANH])
@pytest.mark.parametrize("position", ["before_activation", "after_activation"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_shares_are_counts_of_values_that_pass_nothing_on(activation, position, dtype):
    spec = make_spec(
        dataset={"name": "cifar10"},
        architecture={"name": "cnn", "channels": [6, 5], "activation": activation.value},
        norm={"name": "batch", "position": position},
    )
    recording = Recording(spec.blueprint(), dtype)
    with torch.no_grad():
        for norm in recording.norms.values():
            norm.weight.mul_(torch.linspace(1, 9, len(norm.weight)))
            norm.bias[0] = -100
    given = watch(recording, recording.sample(8))
    rows = recording.flush()
    quantity = {ActivationName.RELU: "zero"}.get(activation, "saturated")
    for site, beside in neighbours(recording.blueprint).items():
        y = given[beside.activation.name].movedim(1, 0).flatten(1).numpy()
        wanted = {
            ActivationName.RELU: y == 0,
            ActivationName.SIGMOID: (y < 0.01) | (y > 0.99),
            ActivationName.TANH: np.abs(y) > 0.98,
        }[activation].mean(axis=1)
        (found,) = rows[site].moments[f"activation.{quantity}"]
        np.testing.assert_allclose(found, wanted, rtol=1e-10 if dtype == torch.float64 else 1e-6)
        assert 0 < found.mean() <= 1
        if position == "before_activation":
            assert found[0] == 1


def test_other_activations_and_sites_without_one_have_no_share():
    for architecture in ("transformer", "lstm"):
        rows = recording_of(architecture).steps([8])
        assert not any(column.startswith("activation.") for site in rows.values() for column in site.moments)
    assert ActivationName.GELU not in IDLE


def test_scale_and_shift_are_those_before_the_step():
    recording = recording_of("cnn", "batch")
    for step in (1, 2):
        before = {name: (norm.weight.clone(), norm.bias.clone()) for name, norm in recording.norms.items()}
        recording.step(step, recording.sample(8))
    rows = recording.flush()
    for name, (gamma, beta) in before.items():
        np.testing.assert_array_equal(rows[name].moments["affine.gamma"][1], gamma.detach())
        np.testing.assert_array_equal(rows[name].moments["affine.beta"][1], beta.detach())
        assert not np.array_equal(rows[name].moments["affine.beta"][0], beta.detach())


@pytest.mark.parametrize(
    ("norm", "options", "columns"),
    [("none", {}, set()), ("batch", {"affine": False}, set()), ("frozen_batch", {}, {"gamma", "beta"})],
)
def test_a_norm_shows_the_scale_and_shift_that_it_has(norm, options, columns):
    for site in recording_of("mlp", norm, **options).steps([8]).values():
        found = {column.partition(".")[2] for column in site.moments if column.startswith("affine.")}
        assert found == columns


def test_accumulated_batches_give_the_gradient_of_the_step_and_the_shares_of_the_last():
    recording = recording_of("mlp", "batch")
    batches = [recording.sample(8), recording.sample(6)]
    given = watch(recording, batches[0])
    recording.flush()
    recording.model.zero_grad()
    for x in batches:
        recording.batch(2, x)
    recording.statistics.take(2)
    rows = recording.flush()["norm1"].moments
    assert rows["layer.gradient_norm"][0] == recording.model.get_parameter("linear1.weight").grad.norm().item()
    assert not np.array_equal(rows["activation.zero"][0], (given["activation1"] <= 0).double().mean(0))


def test_a_job_records_the_learning_rate_that_it_has(digits):
    _, reporter = trained(digits, steps=4, optimizer={"name": "SGD", "lr": 0.5}, statistics={"every": 2})
    ((steps, moments, _),) = reporter.sites["norm1"]
    assert steps == [1, 2, 4]
    np.testing.assert_allclose(
        moments["layer.effective_lr"] * moments["layer.weight_norm"] ** 2, [0.5] * 3, rtol=1e-6
    )


def test_a_job_without_details_records_moments_alone_and_trains_the_same(digits):
    columns = {"train.mean", "train.var", "eval.mean", "eval.var"}
    run, reporter = trained(digits, steps=20, statistics={"every": 5, "details": False})
    other, detailed = trained(digits, steps=20, statistics={"every": 5})
    for site in ("norm1", "norm2"):
        ((_, moments, percentiles),) = reporter.sites[site]
        assert (set(moments), percentiles) == (columns, {})
        assert set(detailed.sites[site][0][1]) > columns
        for column in columns:
            np.testing.assert_array_equal(moments[column], detailed.sites[site][0][1][column])
    weights = zip(run.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    assert all(torch.equal(one, two) for one, two in weights)
