"""What evaluations find at the sites of norms."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.shapes import sites
from tests.worker.networks import SMALL, noise_images, small_network
from tests.worker.support import CPU, assert_same_state, full_state, make_run, trained
from worker import assembly as runs
from worker.batch_means import BATCHES
from worker.data.batches import Samples
from worker.evaluate import Evaluator
from worker.subject import norms_by_site
from worker.trainer import Run

POPULATION = {
    "population.mean",
    "population.var",
    "drift.delta",
    "drift.rho",
    "drift.kl",
    "noise.job",
    "noise.shuffled",
}
TEST = {"test.delta", "test.rho"}


def first_inputs(run: Run, samples: Samples, rows: torch.Tensor | None = None) -> np.ndarray:
    """What reaches the first norm: (N, C), in float64."""
    inputs, _ = samples.batch(torch.arange(len(samples)) if rows is None else rows)
    with torch.no_grad():
        return run.model.linear1(run.model.flatten(inputs)).double().numpy()


def found_at(run: Run, site: str = "norm1") -> dict[str, np.ndarray]:
    return run.evaluator.evaluate().sites[site]


def evaluator_of(run: Run, **changes) -> Evaluator:
    options = {"batch_size": 32, "modes": ["eval", "precise"], "order": run.order} | changes
    return Evaluator(run.model, options.pop("data", run.data), run.objective, **options)


def test_a_cells_averages_are_compared_with_what_began_with_noise_as_they_did(digits):
    """Exact statistics are those of eval mode, whose hidden state begins at 0."""
    run, _ = trained(digits, architecture={"name": "lstm", "hidden": [8]}, norm={"name": "batch"}, steps=200)
    by_batch, exact = (
        evaluator_of(run, population=population).evaluate().sites["lstm1.norm_hidden"]
        for population in ("batch", "sequential")
    )
    assert not np.allclose(by_batch["population.var"], exact["population.var"], rtol=0.05)
    for name in ("drift.delta", "drift.rho", "noise.job"):
        np.testing.assert_allclose(exact[name], by_batch[name], rtol=1e-6)


@pytest.mark.parametrize("population", ["batch", "sequential"])
def test_the_first_norms_numbers_are_those_of_its_inputs_on_the_subset(digits, population):
    run, _ = trained(
        digits, norm={"name": "batch", "momentum": 0.01}, evaluate={"every": 50, "population": population}
    )
    found = found_at(run)
    used = len(run.data.gap) if population == "sequential" else len(run.data.gap) // 32 * 32
    inputs = first_inputs(run, run.data.gap)[:used]
    mean, var = inputs.mean(0), inputs.var(0, ddof=1)
    np.testing.assert_allclose(found["population.mean"], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["population.var"], var, rtol=1e-5)
    stored, spread = (run.model.norm1.get_buffer(f"running_{name}").double().numpy() for name in ("mean", "var"))
    delta, rho = np.abs(stored - mean) / np.sqrt(var), np.log(spread / var)
    assert delta.mean() > 0.05  # fifty steps of so small a momentum
    np.testing.assert_allclose(found["drift.delta"], delta, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["drift.rho"], rho, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["drift.kl"], (np.exp(rho) + delta**2 - 1 - rho) / 2, rtol=1e-3, atol=1e-5)


def test_sequential_statistics_are_those_of_eval_mode_at_the_second_norm(digits):
    batch, _ = trained(digits)
    exact = evaluator_of(batch, population="sequential").evaluate()
    other = evaluator_of(batch).evaluate()
    assert not np.allclose(
        exact.sites["norm2"]["population.var"], other.sites["norm2"]["population.var"], rtol=1e-3
    )
    np.testing.assert_allclose(exact.sites["norm1"]["noise.job"], other.sites["norm1"]["noise.job"], rtol=0.02)
    assert set(exact.metrics) == set(other.metrics)


@pytest.mark.parametrize("population", ["batch", "sequential"])
@pytest.mark.parametrize("order", ["job", "shuffled"])
def test_noise_is_the_deviation_of_the_means_of_batches(digits, order, population):
    run = make_run(digits, evaluate={"population": population})
    rows = run.order.epoch(0) if order == "job" else torch.arange(len(run.data.gap)).split(32)
    samples = run.data.train if order == "job" else run.data.gap
    means = np.stack([first_inputs(run, samples, part).mean(0) for part in rows[:BATCHES]])
    found = found_at(run)
    expected = means.std(0, ddof=1) / np.sqrt(found["population.var"])
    np.testing.assert_allclose(found[f"noise.{order}"], expected, rtol=1e-4)


@pytest.mark.parametrize("momentum", [0.1, 0.9])
def test_the_noise_of_chunks_is_that_of_a_chunk(digits, momentum):
    norm = {"name": "ghost_batch", "size": 32, "momentum": momentum}
    still = {"optimizer": {"name": "SGD", "lr": 1e-6}, "statistics": {"every": 20}}
    run, reporter = trained(digits, norm=norm, batch_size=256, steps=20, **still)
    found, steps = found_at(run), reporter.sites["norm1"][-1][1]["noise.mean"][-1]
    for noise in (found["noise.job"], found["noise.shuffled"], steps):
        # Without the noise of chunks: 1 / sqrt(256) = 0.06 or, scaled twice, 1 / sqrt(4) = 0.5.
        assert np.sqrt((noise**2).mean()) == pytest.approx(1 / np.sqrt(32), rel=0.2)


def test_batches_of_few_classes_are_noisier_than_shuffled_ones(digits):
    dataset = {"name": "digits", "classes_per_batch": 2}
    found = found_at(trained(digits, dataset=dataset)[0])
    assert (found["noise.job"] ** 2).mean() > 2 * (found["noise.shuffled"] ** 2).mean()


def test_a_single_batch_has_no_noise_and_no_ragged_one_counts(digits):
    run = make_run(digits, batch_size=1000)
    assert len(run.order.epoch(0)) == 2
    assert not {"noise.job", "noise.shuffled"} & set(found_at(run))


@pytest.mark.parametrize("modes", [["eval"], ["precise"], ["eval", "precise"]], ids=str)
@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_inputs_on_test_data_are_compared_with_those_on_the_subset(digits, norm, modes):
    run, _ = trained(digits, norm={"name": norm}, steps=5)
    brighter = replace(run.data.test, scale=run.data.test.scale * 2)
    found = evaluator_of(run, data=replace(run.data, test=brighter), modes=modes).evaluate().sites
    assert set(found) == {"norm1", "norm2"}
    test, train = (first_inputs(run, samples) for samples in (brighter, run.data.gap))
    delta = np.abs(test.mean(0) - train.mean(0)) / train.std(0)
    np.testing.assert_allclose(found["norm1"]["test.delta"], delta, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        found["norm1"]["test.rho"], np.log(test.var(0) / train.var(0)), rtol=1e-4, atol=1e-5
    )
    assert found["norm1"]["test.rho"].min() > 1  # four times the variance


@pytest.mark.parametrize(
    ("modes", "expected"),
    [([], set()), (["train"], set()), (["eval"], TEST), (["precise"], POPULATION | TEST)],
    ids=["nothing", "train", "eval", "precise"],
)
def test_what_is_found_depends_on_the_modes(digits, modes, expected):
    run = make_run(digits)
    found = evaluator_of(run, modes=modes).evaluate().sites
    assert {name for values in found.values() for name in values} == expected


@pytest.mark.parametrize(
    ("norm", "names"),
    [
        ({"name": "none"}, TEST),
        ({"name": "layer"}, TEST),
        ({"name": "batch", "track": False}, TEST),
        ({"name": "lp_batch"}, TEST | {"population.mean", "population.scale"}),
        ({"name": "batch_renorm"}, TEST | POPULATION - {"population.var"} | {"population.std"}),
        ({"name": "ghost_batch", "size": 8}, TEST | POPULATION),
    ],
    ids=lambda value: value.get("name") if isinstance(value, dict) else "",
)
def test_each_norm_shows_what_its_moments_tell(digits, norm, names):
    found = found_at(make_run(digits, norm=norm))
    assert set(found) == names
    assert all(np.isfinite(values).all() and values.shape == (8,) for values in found.values())


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_recurrent_sites_show_each_time_step(norm):
    spec = small_network("lstm", norm)
    run = runs.make_run(spec, noise_images(), CPU)
    found = run.evaluator.evaluate().sites
    assert {values.shape for values in found["lstm1.norm_hidden"].values()} == {(32, 32)}
    assert {values.shape for values in found["lstm1.norm_cell"].values()} == {(32, 8)}
    if norm == "batch":
        assert set(found["lstm1.norm_cell"]) == POPULATION | TEST


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("architecture", SMALL)
def test_the_norms_of_a_network_are_those_at_its_sites(architecture, norm):
    from models.build import build

    blueprint = small_network(architecture, norm).blueprint()
    assert list(norms_by_site(build(blueprint))) == [site.name for site in sites(blueprint)]


@pytest.mark.parametrize("population", ["batch", "sequential"])
@pytest.mark.parametrize("norm", ["batch", "noisy_batch", "batch_renorm"])
def test_an_evaluation_leaves_both_models_as_they_were_and_finds_the_same_again(digits, norm, population):
    changes = {"ema": {"decay": 0.9}, "evaluate": {"every": 1000, "population": population}}
    run, _ = trained(digits, norm={"name": norm}, steps=5, **changes)
    before = full_state(run.model), full_state(run.ema.model)
    scratch = run.averages.copy()
    first = run.evaluator.evaluate(run.ema)
    second = run.evaluator.evaluate(run.ema)
    assert torch.equal(run.averages.copy(), scratch)
    for state, model in zip(before, (run.model, run.ema.model), strict=True):
        assert_same_state(full_state(model), state)
    assert first.metrics == second.metrics
    for site, values in first.sites.items():
        for name, value in values.items():
            np.testing.assert_array_equal(value, second.sites[site][name])


def test_a_network_without_a_finite_number_has_findings_without_one(digits):
    run = make_run(digits)
    with torch.no_grad():
        run.model.linear2.weight.fill_(torch.nan)
    found = run.evaluator.evaluate().sites
    assert np.isfinite(found["norm1"]["drift.kl"]).all()
    assert np.isnan(found["norm2"]["drift.kl"]).all()
    assert np.isnan(found["norm2"]["test.delta"]).all()


def test_a_constant_channel_has_neither_drift_nor_noise_where_its_mean_is_right(digits):
    run = make_run(digits)
    with torch.no_grad():
        run.model.linear1.weight[0] = 0
        run.model.norm1.running_mean[0] = run.model.linear1.bias[0] if run.model.linear1.bias is not None else 0
        run.model.norm1.running_var[0] = 0
    found = found_at(run)
    assert [found[name][0] for name in ("drift.delta", "drift.rho", "noise.job", "test.delta", "test.rho")] == [
        0
    ] * 5
