"""The geometry of folds: by hand in float64, by moving samples onto a fold, and what theory says of it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from models.build import build
from tests.db.support import make_spec
from worker.objective import Classification
from worker.probes.base import State
from worker.probes.folds import folds
from worker.probes.geometry import Geometry, distances, offset, total_least_squares
from worker.probes.signs import Signs, nearest

MLP = {"name": "mlp", "hidden": [6, 5], "activation": "relu", "dropout": 0.3}
CONV = {
    "name": "sequential",
    "layers": [
        {"name": "conv", "channels": 4, "kernel": 3},
        {"name": "norm"},
        {"name": "activation", "activation": "relu"},
        {"name": "conv", "channels": 3, "kernel": 2},
        {"name": "activation", "activation": "relu"},
        {"name": "flatten"},
        {"name": "linear", "units": 10},
    ],
}
BATCH, EPS = 16, 1e-5


def network(architecture=MLP, norm="batch", **options) -> nn.Module:
    """In float64, with statistics, scales and shifts of its own."""
    torch.manual_seed(0)
    spec = make_spec(architecture=architecture, norm={"name": norm, **options})
    model = build(spec.blueprint()).double().train()
    with torch.no_grad():
        for name, values in (*model.named_parameters(), *model.named_buffers()):
            if "norm" in name and values.is_floating_point():
                values.copy_(torch.rand_like(values) + 0.5 if "var" in name else torch.randn_like(values))
    return model


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def measured(model, batches: int = 5, samples: int = 20, radius: float = 0.1) -> dict[str, float]:
    state = State(
        before=model,
        after=model,
        inputs=images(BATCH),
        targets=torch.zeros(BATCH, dtype=torch.long),
        lr=0.1,
        objective=Classification(),
    )
    drawn = [images(BATCH, seed) for seed in range(1, batches + 1)]
    return Geometry(every=1, radius=radius, inputs=images(samples), batches=lambda: drawn).measure(state)


def test_a_site_of_batch_norm_is_as_written_out_by_hand():
    model = network()
    found = measured(model, radius=0.5)
    layer, norm = model.get_submodule("linear1"), model.get_submodule("norm1")
    weight, gamma, beta = (p.detach().numpy() for p in (layer.weight, norm.weight, norm.bias))
    mean, sigma = norm.running_mean.numpy(), np.sqrt(norm.running_var.numpy() + EPS)
    length = np.sqrt((weight**2).sum(1))
    h = images(20).flatten(1).numpy() @ weight.T
    y = gamma * (h - mean) / sigma + beta
    d = np.abs(y) * sigma / (np.abs(gamma) * length)
    assert found["norm1/distance"] == pytest.approx(np.sort(d.flatten())[(d.size - 1) // 2], rel=1e-10)
    assert found["norm1/near"] == pytest.approx((d.min(1) < 0.5).mean())
    assert found["norm1/tls_batch"] == pytest.approx((h.var(0) / length**2).mean(), rel=1e-10)
    assert found["norm1/tls_zero"] == pytest.approx(((h**2).mean(0) / length**2).mean(), rel=1e-10)
    assert found["norm1/regions"] == len({tuple(row) for row in y > 0})
    offsets = []
    for seed in range(1, 6):
        h = images(BATCH, seed).flatten(1).numpy() @ weight.T
        offsets.append(h.mean(0) - beta * np.sqrt(h.var(0) + EPS) / gamma)
    jitter = (np.std(offsets, axis=0, ddof=1) / length).mean()
    assert found["norm1/jitter"] == pytest.approx(jitter, rel=1e-8)
    assert found["norm1/jitter_share"] == pytest.approx(jitter / found["norm1/distance"], rel=1e-8)
    assert (found["samples"], found["batches"], found["passes"]) == (20, 5, 6)


def test_signs_and_neighbours_are_as_counted_one_by_one():
    model = network()
    found = measured(model)
    x, active = images(20).flatten(1), []
    with torch.no_grad():
        model.eval()
        for number in (1, 2):
            x = model.get_submodule(f"norm{number}")(model.get_submodule(f"linear{number}")(x)).relu()
            active.append((x > 0).numpy())
    every = np.concatenate(active, axis=1)
    flat = images(20).flatten(1).numpy()
    apart = ((flat[:, None] - flat[None]) ** 2).sum(2) + np.diag([np.inf] * 20)
    near = apart.argmin(1)
    for name, pattern in (("", every), ("norm1/", active[0]), ("norm2/", active[1])):
        assert found[f"{name}regions"] == len({tuple(row) for row in pattern})
        assert found[f"{name}hamming"] == pytest.approx((pattern != pattern[near]).mean())


@pytest.mark.parametrize("norm", ["batch", "batch_renorm", "lp_batch", "frozen_batch", "none", "ghost_batch"])
@pytest.mark.parametrize("architecture", [MLP, CONV], ids=["mlp", "conv"])
def test_a_sample_that_moves_by_its_distance_along_the_weights_is_on_the_fold(norm, architecture):
    model = network(architecture, norm).eval()
    if norm == "batch_renorm":
        model.norm1.running_std.abs_().add_(0.1)
    fold = next(folds(model))
    weight = fold.layer.weight.detach()
    z = torch.randn(1, *weight.shape[1:], dtype=torch.float64)  # one window of a convolution
    with torch.no_grad():
        follow = fold.norm if fold.norm is not None else nn.Identity()
        y = follow(fold.layer(z)).flatten()
        for unit in range(len(weight)):
            slope, length = fold.slopes()[unit], fold.lengths()[unit]
            there = z - weight[unit] / length * (y[unit] / (slope * length))
            assert follow(fold.layer(there)).flatten()[unit].abs() < 1e-10 * (1 + y[unit].abs())
        own = distances(fold, follow(fold.layer(z)), 1e9)["distance"]
    expected = (y.abs() / (fold.slopes().abs() * fold.lengths())).median()
    assert own == pytest.approx(expected.item())


def test_convolutions_count_each_position_and_layers_without_a_norm_go_by_their_own_name():
    model = network(CONV)
    names = [fold.name for fold in folds(model)]
    assert len(names) == 2
    found = measured(model)
    assert [f"{name}/jitter" in found for name in names] == [True, False]
    with torch.no_grad():
        model.eval()
        first = next(folds(model))
        y = first.norm(first.layer(images(20)))
        d = y.abs() / (first.slopes().abs() * first.lengths()).view(1, -1, 1, 1)
    assert found[f"{names[0]}/distance"] == pytest.approx(d.median().item())
    assert found[f"{names[0]}/regions"] == len({tuple(row.tolist()) for row in (y > 0).flatten(1)})


@pytest.mark.parametrize(("norm", "options"), [("batch", {}), ("batch_renorm", {}), ("noisy_batch", {})])
def test_an_offset_is_the_input_at_which_the_norm_of_the_batch_is_0(norm, options):
    model = network(norm=norm, **options)
    if norm == "batch_renorm":
        model.norm1.running_std.abs_().add_(0.1)
    fold = next(folds(model))
    fold.norm.noise = False
    with torch.no_grad():
        h = fold.layer(images(BATCH).flatten(1))
        y = fold.norm(h)
        slope = (y[1] - y[0]) / (h[1] - h[0])
        expected = h[0] - y[0] / slope
    torch.testing.assert_close(offset(fold, h, y), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("which", ["gamma", "weights"])
def test_a_unit_without_a_fold_is_infinitely_far_and_left_out_of_means(which):
    model = network()
    without = copy.deepcopy(model)
    with torch.no_grad():
        target = without.norm1.weight if which == "gamma" else without.linear1.weight
        target[2] = 0
    found = measured(without)
    assert all(np.isfinite(value) for value in found.values())
    fold = next(folds(without.eval()))
    with torch.no_grad():
        y = fold.norm(fold.layer(images(20).flatten(1)))
        scale = fold.slopes().abs() * fold.lengths()
    kept = [k for k in range(6) if k != 2]
    far = torch.cat([(y[:, kept].abs() / scale[kept]).flatten(), torch.full((20,), torch.inf)])
    assert found["norm1/distance"] == pytest.approx(far.median().item())
    if which == "weights":
        assert found["norm1/tls_batch"] == pytest.approx(
            total_least_squares(fold, fold.layer(images(20).flatten(1)))["tls_batch"].item()
        )


@pytest.mark.parametrize("architecture", [MLP, CONV], ids=["mlp", "conv"])
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("seed", range(5))
def test_no_offset_has_smaller_total_least_squares_than_batch_norms(architecture, norm, seed):
    model = network(architecture, norm)
    h = torch.randn(40, 4 if architecture is CONV else 6, dtype=torch.float64) + seed
    fold = next(folds(model))
    found = {name: value.item() for name, value in total_least_squares(fold, h).items()}
    assert found["tls_batch"] <= min(found["tls_zero"], found["tls_random"])
    generator = torch.Generator().manual_seed(seed)
    for _ in range(20):
        at = torch.randn(h.shape[1], dtype=torch.float64, generator=generator)
        w = fold.lengths()
        other = ((h - (fold.layer.bias if fold.layer.bias is not None else 0) + at).square().mean(0) / w**2).mean()
        assert found["tls_batch"] <= other.item() + 1e-12


@pytest.mark.parametrize("size", [4, 16, 64])
def test_folds_of_independent_samples_jitter_as_the_mean_of_a_batch_does(size):
    """Std_B(mu_B) = sigma / sqrt(m), as a mean over 400 channels and 50 batches."""
    model = nn.Sequential()
    spec = make_spec(architecture={"name": "mlp", "hidden": [400], "activation": "relu"}, norm={"name": "batch"})
    torch.manual_seed(0)
    model = build(spec.blueprint()).train()
    generator = torch.Generator().manual_seed(0)
    state = State(
        before=model,
        after=model,
        inputs=torch.randn(8, 1, 8, 8),
        targets=torch.zeros(8, dtype=torch.long),
        lr=0.1,
        objective=Classification(),
    )
    probe = Geometry(
        every=1,
        radius=0.1,
        inputs=torch.randn(8, 1, 8, 8),
        batches=lambda: (torch.randn(size, 1, 8, 8, generator=generator) for _ in range(50)),
    )
    # Inputs of variance 1: sigma is ||w||, and beta is 0.
    assert 0.9 < probe.measure(state)["norm1/jitter"] * size**0.5 < 1.1


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_norms_without_one_fold_for_all_samples_are_left_out(norm):
    options = {"groups": 2} if norm == "group" else {}
    found = measured(network({"name": "mlp", "hidden": [6, 4], "activation": "relu"}, norm, **options))
    assert set(found) == {"regions", "hamming", "samples", "batches", "passes"}


def test_one_batch_is_no_jitter():
    found = measured(network(), batches=1)
    assert not any("jitter" in key for key in found)
    assert found["batches"] == 1


def test_packed_signs_are_exact_for_any_number_of_units():
    generator = torch.Generator().manual_seed(0)
    for units in (1, 7, 8, 9, 70):
        y = torch.randn(12, units, generator=generator)
        signs, active = Signs.of(y), (y > 0).numpy()
        near = nearest(y)
        assert signs.regions() == len({tuple(row) for row in active})
        assert signs.hamming(near) == pytest.approx((active != active[near]).mean())
