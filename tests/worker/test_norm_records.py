"""What sites record whose norms are not batch norm: their own moments, time steps, scales, tokens."""

import numpy as np
import pytest
import torch

from models.build import build
from models.norms.batch import BatchNorm
from models.norms.lp import LpBatchNorm
from models.norms.noisy import NoisyBatchNorm
from models.norms.renorm import BatchRenorm
from models.norms.running import RunningAverages
from models.shapes import sites
from tests.worker.networks import BATCH, small_network
from tests.worker.recording import statistics_of
from tests.worker.support import trained
from worker.statistics import SiteRows, norm_of


def record(
    architecture: str, norm: str, samples: int = BATCH, **options
) -> tuple[dict[str, SiteRows], dict[str, list[torch.Tensor]], object]:
    """Rows of one step of a small network, what each site took (once for each time step), and the model."""
    spec = small_network(architecture, norm, **options)
    blueprint = spec.blueprint()
    torch.manual_seed(0)
    model, found = build(blueprint).train(), sites(blueprint)
    averages = RunningAverages(model.modules())
    units = {found[-1].name: [0, 1]}
    statistics = statistics_of(model, blueprint, averages, units=units, percentiles=[50])
    taken: dict[str, list[torch.Tensor]] = {site.name: [] for site in found}
    for site in found:
        norm_of(model, site).register_forward_pre_hook(
            lambda _, inputs, name=site.name: taken[name].append(inputs[0].detach().double())
        )
    statistics.watch(model, torch.randn(samples, *blueprint.input_shape) * 2 + 1)
    averages.update()
    statistics.observe(7, samples)
    statistics.take(7)
    return {rows.site: rows for rows in statistics.flush()}, taken, model


def moments_of(rows: SiteRows) -> set[str]:
    """The columns of a site that tell what its norm normalizes by."""
    return {column for column in rows.moments if column.startswith(("train.", "eval."))}


def close(found: np.ndarray, expected: torch.Tensor) -> None:
    np.testing.assert_allclose(found, expected.numpy(), rtol=2e-5, atol=1e-6)


def test_layer_norm_records_the_mean_over_samples_of_its_own_moments():
    rows, taken, _ = record("cnn", "layer")
    for name, site in rows.items():
        (x,) = taken[name]
        close(site.moments["train.mean"][0], x.flatten(1).mean(1).mean(0, keepdim=True))
        close(site.moments["train.var"][0], x.flatten(1).var(1, correction=0).mean(0, keepdim=True))
        assert moments_of(site) == {"train.mean", "train.var"}


def test_group_norm_records_one_pair_for_each_group_and_instance_norm_for_each_channel():
    for norm, groups in (("group", 4), ("instance", None)):
        rows, taken, _ = record("cnn", norm)
        for name, site in rows.items():
            (x,) = taken[name]
            parts = x.unflatten(1, (groups or x.shape[1], -1)).flatten(2)
            close(site.moments["train.mean"][0], parts.mean(2).mean(0))
            close(site.moments["train.var"][0], parts.var(2, correction=0).mean(0))


def test_rms_norm_records_a_scale():
    rows, taken, _ = record("mlp", "rms")
    for name, site in rows.items():
        (x,) = taken[name]
        close(site.moments["train.scale"][0], x.square().mean(1).sqrt().mean(0, keepdim=True))


@pytest.mark.parametrize(("p", "power"), [(1, 1.0), (2, 2.0)])
def test_lp_norm_records_mean_and_scale_of_the_batch_and_as_stored(p, power):
    rows, taken, model = record("cnn", "lp_batch", p=p)
    for name, site in rows.items():
        (x,) = taken[name]
        channels = x.movedim(1, 0).flatten(1)
        close(site.moments["train.mean"][0], channels.mean(1))
        close(site.moments["train.scale"][0], channels.abs().pow(power).mean(1).pow(1 / power))
        np.testing.assert_array_equal(site.moments["eval.scale"][0], model.get_submodule(name).running_scale)


def test_frozen_norm_records_what_comes_and_what_it_holds():
    rows, taken, _ = record("cnn", "frozen_batch")
    for name, site in rows.items():
        (x,) = taken[name]
        close(site.moments["train.mean"][0], x.mean((0, 2, 3)))
        close(site.moments["train.var"][0], x.var((0, 2, 3), correction=0))
        np.testing.assert_array_equal(site.moments["eval.mean"][0], np.zeros(x.shape[1]))
        np.testing.assert_array_equal(site.moments["eval.var"][0], np.ones(x.shape[1]))


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
@pytest.mark.parametrize(
    ("samples", "size", "chunks"),
    [(34, 32, [32, 2]), (33, 32, [33]), (14, 4, [4, 4, 4, 2]), (13, 4, [4, 4, 5]), (12, 4, [4, 4, 4])],
    ids=str,
)
@pytest.mark.parametrize("momentum", [0.1, 1.0, None], ids=str)
def test_ghost_batch_norm_records_the_mean_of_its_chunks_moments(architecture, samples, size, chunks, momentum):
    rows, taken, model = record(architecture, "ghost_batch", samples=samples, size=size, momentum=momentum)
    for name, site in rows.items():
        (x,) = taken[name]
        parts = [chunk.movedim(1, 0).flatten(1) for chunk in x.split(chunks)]
        shares = [count / samples for count in chunks]
        close(site.moments["train.mean"][0], sum(s * part.mean(1) for s, part in zip(shares, parts, strict=True)))
        var = sum(s * part.var(1, correction=0) for s, part in zip(shares, parts, strict=True))
        close(site.moments["train.var"][0], var)
        np.testing.assert_array_equal(site.moments["eval.var"][0], model.get_submodule(name).running_var)


def test_untracked_batch_norm_records_biased_variances_alone():
    rows, taken, _ = record("mlp", "batch", track=False)
    for name, site in rows.items():
        (x,) = taken[name]
        close(site.moments["train.var"][0], x.var(0, correction=0))
        assert moments_of(site) == {"train.mean", "train.var"}


def test_plain_batch_norm_is_recorded_by_the_copy_of_all_averages_alone():
    for norm in (BatchNorm(3), NoisyBatchNorm(3), BatchRenorm(3), LpBatchNorm(3)):
        assert norm.latest_batches(8) is None


def test_each_recorded_step_of_ghost_batch_norm_has_its_own_moments(digits):
    _, reporter = trained(
        digits, norm={"name": "ghost_batch", "size": 8}, batch_size=20, steps=4, statistics={"every": 2}
    )
    ((steps, moments, _),) = reporter.sites["norm1"]
    assert steps == [1, 2, 4]
    assert moments["train.mean"].shape == (3, 8)
    assert not np.array_equal(moments["train.mean"][0], moments["train.mean"][1])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_recurrent_sites_record_every_time_step(cell, norm):
    rows, taken, _ = record(cell, norm)
    for name, site in rows.items():
        steps = taken[name]
        assert len(steps) == 32
        values = 1 if norm == "layer" else steps[0].shape[1]
        assert all(site.moments[column].shape == (1, 32, values) for column in moments_of(site))
        over = 1 if norm == "layer" else 0
        for step, x in enumerate(steps):
            close(site.moments["train.mean"][0, step], x.mean(over).mean(0, keepdim=True) if over else x.mean(0))
            var = x.var(over, correction=0)
            close(site.moments["train.var"][0, step], var.mean(0, keepdim=True) if over else var)
        assert ("eval.mean" in site.moments) is (norm == "batch")


def test_percentiles_of_a_recurrent_site_are_over_all_its_time_steps():
    rows, _, _ = record("lstm", "none")
    last = list(rows)[-1]
    _, taken, _ = record("lstm", "none")
    outputs = torch.cat([x[:, :2] for x in taken[last]])
    np.testing.assert_allclose(rows[last].percentiles["50"][0], np.median(outputs.numpy(), axis=0), rtol=1e-5)


def test_tokens_count_as_samples():
    rows, taken, _ = record("transformer", "batch")
    for name, site in rows.items():
        (x,) = taken[name]
        assert x.shape == (BATCH * 16, 16)
        close(site.moments["train.var"][0], x.var(0, correction=0))
