"""Jobs that predict numbers, losses that are sums, and batches of few classes: through the loop and out again."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from db.datasets import DATASETS, DatasetName
from db.spec.job import JobSpec
from tests.worker.exported import write_export
from tests.worker.support import CPU, Kept, small_spec
from worker import assembly as runs
from worker import export
from worker.data import cache
from worker.data.cache import CachedData
from worker.loader import load_model
from worker.trainer import Run, train

INFO = DATASETS[DatasetName.GAUSSIAN_LINEAR]
DEEP_LINEAR = {
    "dataset": {"name": "gaussian_linear"},
    "architecture": {
        "name": "mlp",
        "hidden": [10] * 24,
        "activation": "linear",
        "init": {"name": "xavier_normal"},
    },
    "batch_size": 1000,
    "steps": 20,
    "optimizer": {"name": "SGD", "lr": 1e-3},
}
SCORES = {"loss", "rmse", "r2"}


@pytest.fixture(scope="module")
def gaussian(tmp_path_factory) -> CachedData:
    folder = tmp_path_factory.mktemp("gaussian")
    return cache.load(INFO, binarize=False, data_dir=folder, cache=folder / "cache")


def trained(data: CachedData, spec: JobSpec) -> tuple[Run, Kept]:
    run, reporter = runs.make_run(spec, data, CPU), Kept()
    assert train(run, reporter, lambda: None) is None
    return run, reporter


def test_gaussian_linear_is_what_the_catalogue_says(gaussian):
    arrays = gaussian.arrays
    assert (arrays.train_inputs.shape, arrays.test_inputs.shape) == ((1000, 10, 1, 1), (1000, 10, 1, 1))
    assert {array.dtype.name for _, array in arrays.items()} == {"float32"}
    x, y = arrays.train_inputs[:, :, 0, 0].astype(np.float64), arrays.train_targets.astype(np.float64)
    np.testing.assert_array_equal(x.mean(0).round(4), INFO.mean)
    np.testing.assert_array_equal(x.std(0).round(4), INFO.std)
    assert np.abs(np.corrcoef(x.T) - np.eye(10)).max() < 0.15
    matrix, _, _, _ = np.linalg.lstsq(x, y, rcond=None)
    assert 0.8 < matrix.std() < 1.2
    np.testing.assert_allclose(arrays.test_inputs[:, :, 0, 0] @ matrix, arrays.test_targets, atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_a_deep_linear_network_learns_and_says_how_well(gaussian, norm):
    run, reporter = trained(gaussian, small_spec(**DEEP_LINEAR, norm={"name": norm}))
    assert set(reporter.streams["train"][0][1]) == {f"train/{score}" for score in SCORES}
    (_, metrics), *others = reporter.streams["evaluation"]
    assert not others
    modes = ["gap/eval_mode", "gap/train_mode", "gap/train_mode_large", "gap/precise", "test/precise", "test"]
    assert set(metrics) == {f"{mode}/{score}" for mode in modes for score in SCORES} | {"lr", "samples_per_second"}
    losses = reporter.series("train/loss")
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(reporter.series("train/rmse"), np.sqrt(losses))
    # All samples are one batch: the r2 of each step is that of the loss against the spread of the targets.
    spread = np.square(gaussian.arrays.train_targets - gaussian.arrays.train_targets.mean(0)).mean()
    np.testing.assert_allclose(reporter.series("train/r2"), 1 - losses / spread, rtol=1e-5)
    with torch.no_grad():
        x, y = run.data.test.batch(torch.arange(1000))
        error = (run.model.eval()(x) - y).double().square().mean().item()
    assert metrics["test/loss"][0] == pytest.approx(error, rel=1e-5)
    assert metrics["test/rmse"][0] == pytest.approx(error**0.5, rel=1e-5)


def test_a_regression_with_standardized_inputs_and_a_norm_of_them_learns_the_matrix(gaussian):
    changes = {
        "dataset": {"name": "gaussian_linear", "standardize": True},
        "architecture": {"name": "mlp", "hidden": [64], "activation": "linear"},
        "norm": {"name": "batch"},
        "batch_size": 50,
        "steps": 400,
        "optimizer": {"name": "SGD", "lr": 0.05},
    }
    _, reporter = trained(gaussian, small_spec(**changes))
    assert reporter.series("test/r2", "evaluation")[-1] > 0.95
    assert reporter.series("test/rmse", "evaluation")[-1] < 1


def by_hand(run: Run, data: str, parts: list[list[torch.Tensor]], lr: float) -> nn.Module:
    """The same network of torch's own layers after SGD on torch's own sum over all samples of each step."""
    linear = [layer for layer in run.model.children() if isinstance(layer, nn.Linear)]
    model = nn.Sequential(nn.Flatten(), *(nn.Linear(each.in_features, each.out_features) for each in linear))
    for own, given in zip(list(model)[1:], linear, strict=True):
        own.load_state_dict(given.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    loss_of = {"digits": F.cross_entropy, "gaussian_linear": F.mse_loss}[data]
    for step in parts:
        x, y = run.data.train.batch(torch.cat(step))
        optimizer.zero_grad()
        loss_of(model(x), y, reduction="sum").backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("name", ["digits", "gaussian_linear"])
def test_the_gradient_of_a_sum_is_torchs_own_also_of_accumulated_batches(digits, gaussian, name, accumulate):
    data = {"digits": digits, "gaussian_linear": gaussian}[name]
    spec = small_spec(
        dataset={"name": name},
        architecture={"name": "mlp", "hidden": [8], "activation": "linear"},
        norm={"name": "none"},
        loss={"reduction": "sum"},
        batch_size=48,
        # The batches of an epoch end in a ragged one.
        steps=14,
        optimizer={"name": "SGD", "lr": 1e-4, "accumulate": accumulate},
    )
    run = runs.make_run(spec, data, CPU)
    batches = [rows for epoch in (1, 2) for rows in run.order.epoch(epoch)]
    steps = [batches[first : first + accumulate] for first in range(0, 14 * accumulate, accumulate)]
    expected, reporter = by_hand(run, name, steps, 1e-4), Kept()
    assert train(run, reporter, lambda: None) is None
    found = [layer for layer in run.model.children() if isinstance(layer, nn.Linear)]
    for ours, theirs in zip(found, list(expected)[1:], strict=True):
        torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours.bias, theirs.bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_reported_losses_are_means_whatever_is_minimized(digits, accumulate):
    def losses(reduction: str) -> np.ndarray:
        optimizer = {"name": "SGD", "lr": 1e-9, "accumulate": accumulate}
        spec = small_spec(loss={"reduction": reduction}, optimizer=optimizer, steps=15)
        return trained(digits, spec)[1].series("train/loss")

    np.testing.assert_allclose(losses("sum"), losses("mean"), rtol=1e-5)


def test_a_sum_with_the_rate_of_a_mean_takes_the_same_steps(digits):
    def weights(reduction: str, lr: float) -> dict[str, torch.Tensor]:
        spec = small_spec(loss={"reduction": reduction}, optimizer={"name": "SGD", "lr": lr}, steps=20)
        return trained(digits, spec)[1].snapshots[-1].weights

    mean, total = weights("mean", 0.1), weights("sum", 0.1 / 32)
    for name, value in mean.items():
        torch.testing.assert_close(total[name], value, rtol=1e-4, atol=1e-5)


def test_a_regression_leaves_normlab_with_its_task_and_its_outputs(gaussian, tmp_path):
    spec = small_spec(**DEEP_LINEAR | {"steps": 2}, norm={"name": "batch"})
    run, reporter = trained(gaussian, spec)
    config = json.loads(export.config_bytes(spec))
    assert (config["task"], config["outputs"]) == ("regression", 10)
    given = {"shape": [10, 1, 1], "largest_value": None, "threshold": None, "mean": None, "std": None}
    assert config["input"] == given
    inputs = torch.from_numpy(np.array(gaussian.arrays.test_inputs[:5]))
    with torch.no_grad():
        outputs = run.model.eval()(inputs)
    write_export(tmp_path, spec, reporter.snapshots[-1])
    loaded = load_model(tmp_path / "config.json", tmp_path / "model.safetensors")
    assert torch.equal(loaded(inputs), outputs)


def test_the_config_of_a_classification_says_its_classes(digits):
    config = export.config(small_spec())
    assert (config["task"], config["outputs"]) == ("classification", 10)


def test_batches_of_few_classes_hurt_batch_norm_and_spare_layer_norm(digits):
    def accuracy(norm: str, classes: int | None) -> tuple[float, float]:
        """Of the mini-batches near the end of the training, and of the test data at its end."""
        spec = small_spec(
            dataset={"name": "digits", "classes_per_batch": classes},
            architecture={"name": "mlp", "hidden": [100, 100, 100]},
            norm={"name": norm},
            optimizer={"name": "SGD", "lr": 0.02},
            steps=225,
        )
        run, reporter = trained(digits, spec)
        held = [len(run.data.train.targets[rows].unique()) for rows in run.order.epoch(5)]
        assert len(held) == spec.batches_per_epoch() == 45
        assert max(held[:35]) == (classes or max(held))
        assert len(run.data.gap.targets[:32].unique()) > 5
        own = reporter.series("train/accuracy")[-30:-15].mean()
        return own, reporter.series("test/accuracy", "evaluation")[-1]

    few, mixed, layer = accuracy("batch", 2), accuracy("batch", None), accuracy("layer", 2)
    assert few[0] < 0.7 < 0.9 < min(mixed[0], layer[0])
    assert few[1] < mixed[1] - 0.03
