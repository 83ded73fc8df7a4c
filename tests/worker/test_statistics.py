"""What is recorded of each site, against the same numbers from what went through it."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.blueprint import Blueprint, Init, NormChoice
from models.build import build
from models.catalog.names import ActivationName, NormName
from models.kinds.containers import Chain
from models.kinds.layers import Norm
from models.networks.mlp import mlp
from models.norms.base import Identity
from models.norms.running import RunningAverages
from models.shapes import sites
from worker.percentiles import OutputPercentiles
from worker.statistics import SiteRows, SiteStatistics

PERCENTILES = (0.0, 12.5, 50.0, 85.0, 100.0)
UNITS = {"norm1": [4, 0], "norm2": [1]}


def network(norm: NormName) -> Blueprint:
    return mlp(
        (6,),
        3,
        hidden=[5, 4],
        activation=ActivationName.TANH,
        norm=NormChoice(name=norm),
        init=Init(),
    )


class Recording:
    """A model in train mode, its statistics, and by hooks of our own what each site took and gave."""

    def __init__(self, blueprint: Blueprint, units=UNITS, percentiles: Sequence[float] = PERCENTILES) -> None:
        torch.manual_seed(0)
        self.model = build(blueprint).train()
        self.averages = RunningAverages(self.model.modules())
        self.statistics = SiteStatistics(self.model, sites(blueprint), self.averages, units, percentiles)
        self.inputs: dict[str, list[np.ndarray]] = {site.name: [] for site in sites(blueprint)}
        self.outputs: dict[str, list[np.ndarray]] = {site.name: [] for site in sites(blueprint)}
        self.running: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in self.inputs}

    def step(self, step: int, x: Tensor) -> None:
        handles = [self.model.get_submodule(name).register_forward_hook(self._keep(name)) for name in self.inputs]
        self.statistics.watch(self.model, x)
        for handle in handles:
            handle.remove()
        self.averages.update()
        self.statistics.observe(step, len(x))
        self.statistics.take(step)
        for name in self.inputs:
            site = self.model.get_submodule(name)
            if not isinstance(site, Identity):
                self.running[name].append((site.running_mean.numpy().copy(), site.running_var.numpy().copy()))

    def _keep(self, name: str):
        def hook(module, inputs, output) -> None:
            self.inputs[name].append(by_channel(inputs[0]))
            self.outputs[name].append(by_channel(output))

        return hook

    def steps(self, count: int, *shape: int) -> dict[str, SiteRows]:
        for step in range(1, count + 1):
            self.step(10 * step, torch.randn(8 + step, *shape) * 3 + 1)
        return {rows.site: rows for rows in self.statistics.flush()}


def by_channel(x: Tensor) -> np.ndarray:
    return x.detach().double().movedim(1, -1).flatten(0, -2).numpy()


@pytest.mark.parametrize("norm", [NormName.NONE, NormName.BATCH])
def test_train_moments_are_those_of_what_each_site_took(norm):
    recording = Recording(network(norm))
    rows = recording.steps(3, 6)
    assert list(rows) == ["norm1", "norm2"]
    for name, site in rows.items():
        assert site.steps == [10, 20, 30]
        for index, taken in enumerate(recording.inputs[name]):
            mean, biased = taken.mean(axis=0), taken.var(axis=0)
            np.testing.assert_allclose(site.moments["train.mean"][index], mean, rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(site.moments["train.var"][index], biased, rtol=1e-5, atol=1e-6)


def test_eval_moments_are_the_running_averages_as_stored_after_the_step():
    recording = Recording(network(NormName.BATCH))
    for name, site in recording.steps(4, 6).items():
        for index, (mean, var) in enumerate(recording.running[name]):
            np.testing.assert_array_equal(site.moments["eval.mean"][index], mean)
            np.testing.assert_array_equal(site.moments["eval.var"][index], var)
    assert not np.array_equal(mean, recording.running[name][0][0])


def test_a_site_without_a_norm_has_no_eval_moments():
    rows = Recording(network(NormName.NONE)).steps(1, 6)
    assert all(set(site.moments) == {"train.mean", "train.var"} for site in rows.values())


@pytest.mark.parametrize("norm", [NormName.NONE, NormName.BATCH])
def test_percentiles_are_numpys_linear_ones_of_the_chosen_units_output(norm):
    recording = Recording(network(norm))
    for name, site in recording.steps(3, 6).items():
        assert list(site.percentiles) == ["0", "12.5", "50", "85", "100"]
        for index, given in enumerate(recording.outputs[name]):
            expected = np.percentile(given[:, UNITS[name]], PERCENTILES, axis=0, method="linear")
            found = np.stack([values[index] for values in site.percentiles.values()])
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pending", [1, 50, 10**6])
def test_percentiles_do_not_depend_on_how_many_steps_are_sorted_at_once(pending, monkeypatch):
    monkeypatch.setattr("worker.percentiles.PENDING_VALUES", pending)
    outputs = [torch.randn(samples, 4) for samples in (8, 8, 3, 8, 8, 8)]
    percentiles = OutputPercentiles(torch.tensor([3, 0]), [15, 85])
    for output in outputs:
        percentiles.take(output)
    found = percentiles.flush()
    for name in ("15", "85"):
        expected = [np.percentile(output[:, [3, 0]], int(name), axis=0) for output in outputs]
        np.testing.assert_allclose(found[name], expected, rtol=1e-5)


def test_moments_of_images_are_over_every_position():
    blueprint = Blueprint(
        architecture="test",
        input_shape=(3, 4, 5),
        outputs=3,
        init=Init(),
        body=Chain(layers=(("norm", Norm(norm=NormName.BATCH, features=3)),)),
    )
    (site,) = sites(blueprint)
    torch.manual_seed(0)
    model = build(blueprint)
    model.register_parameter("anchor", nn.Parameter(torch.zeros(1)))
    statistics = SiteStatistics(model, [site], RunningAverages(model.modules()), {"norm": [2]}, [50])
    x = torch.randn(6, 3, 4, 5) * 2 - 1
    y = statistics.watch(model.train(), x)
    statistics.observe(1, len(x))
    statistics.take(1)
    (rows,) = statistics.flush()
    np.testing.assert_allclose(rows.moments["train.var"][0], by_channel(x).var(axis=0), rtol=1e-5)
    np.testing.assert_allclose(rows.percentiles["50"][0], np.median(by_channel(y)[:, [2]], axis=0), rtol=1e-5)


@pytest.mark.parametrize("norm", [NormName.NONE, NormName.BATCH])
def test_nothing_stays_hooked_after_a_recorded_step(norm):
    recording = Recording(network(norm))
    recording.steps(1, 6)
    assert not any(module._forward_hooks for module in recording.model.modules())

    with pytest.raises(RuntimeError):
        recording.statistics.watch(recording.model, torch.randn(4, 7))
    assert not any(module._forward_hooks for module in recording.model.modules())


@pytest.mark.parametrize("norm", [NormName.NONE, NormName.BATCH])
def test_watching_changes_neither_output_nor_gradients(norm):
    plain, watched = Recording(network(norm)), Recording(network(norm))
    x = torch.randn(9, 6)
    one, other = plain.model(x), watched.statistics.watch(watched.model, x)
    assert torch.equal(one, other)
    one.square().sum().backward()
    other.square().sum().backward()
    gradients = zip(plain.model.parameters(), watched.model.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in gradients)


def test_rows_of_ragged_batches_share_their_shape_and_a_flush_empties():
    recording = Recording(network(NormName.BATCH))
    rows = recording.steps(3, 6)["norm1"]
    assert rows.moments["train.mean"].shape == (3, 5)
    assert rows.percentiles["50"].shape == (3, 2)
    assert recording.statistics.flush() == []


@pytest.mark.parametrize(("units", "percentiles"), [({}, PERCENTILES), ({"norm1": []}, PERCENTILES), (UNITS, ())])
def test_without_units_or_percentiles_only_moments_are_recorded(units, percentiles):
    rows = Recording(network(NormName.BATCH), units, percentiles).steps(2, 6)
    assert all(site.percentiles == {} for site in rows.values())
    assert all(set(site.moments) == {"train.mean", "train.var", "eval.mean", "eval.var"} for site in rows.values())
