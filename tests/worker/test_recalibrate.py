"""Recalibration itself: what a model becomes when its running averages are estimated anew."""

import numpy as np
import pytest
import torch
from safetensors.torch import save

from db.spec.recalibration import Recalibration
from models.norms.base import RunningNorm
from tests.worker.support import CPU, make_run, small_spec, trained
from worker import assembly as runs
from worker.data import cache
from worker.data.cache import CachedData
from worker.errors import DataError
from worker.recalibrate import Recalibrated, recalibrate

#: Running averages that lag: after 200 updates they still hold four fifths of where they began.
LAGGING = {
    "architecture": {"name": "mlp", "hidden": [32, 32], "activation": "sigmoid"},
    "norm": {"name": "batch", "momentum": 0.001},
    "steps": 200,
}


@pytest.fixture(scope="module")
def lagging(digits) -> dict[str, torch.Tensor]:
    _, reporter = trained(digits, **LAGGING)
    return reporter.snapshots[-1].weights


def ask(digits: CachedData, weights, spec=None, inputs=None, **request) -> Recalibrated:
    wanted = Recalibration.model_validate(request)
    return recalibrate(spec or small_spec(**LAGGING), wanted, weights, digits, inputs)


def is_statistic(name: str) -> bool:
    return "running_" in name


@pytest.mark.parametrize("mode", ["batch", "sequential"])
def test_the_accuracy_of_lagging_averages_comes_back(digits, lagging, mode):
    result = ask(digits, lagging, mode=mode).result
    assert result["before"]["gap/eval_mode/accuracy"] < 0.4
    assert result["after"]["gap/eval_mode/accuracy"] > 0.9
    assert result["after"]["test/accuracy"] > 0.9
    assert result["samples"] == 1437
    assert set(result["drift"]) == {"norm1", "norm2"}
    assert all(site["delta"] > 0.2 for site in result["drift"].values())


def test_samples_that_the_job_held_out_take_no_part(digits, lagging):
    spec = small_spec(**LAGGING, dataset={"name": "digits", "validation_fraction": 0.2})
    made = ask(digits, lagging, spec)
    assert made.result["samples"] == 1437 - 287
    assert made.result["after"]["validation/accuracy"] > 0.9
    # The statistics are those of what is left alone.
    run = runs.make_run(spec, digits, CPU)
    run.model.load_state_dict(made.weights)
    first = next(module for module in run.model.eval().modules() if isinstance(module, RunningNorm))
    seen = []
    first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        run.model(run.data.train.batch(torch.arange(len(run.data.train)))[0])
    torch.testing.assert_close(first.running_mean, seen[0].mean(0), rtol=1e-5, atol=1e-6)


def test_only_statistics_change(digits, lagging):
    made = ask(digits, lagging).weights
    assert made.keys() == lagging.keys()
    for name, before in lagging.items():
        assert made[name].dtype == before.dtype
        assert torch.equal(made[name], before) != is_statistic(name), name


def test_the_statistics_are_those_of_the_inputs_that_each_norm_has_in_eval_mode(digits, lagging):
    run = make_run(digits, **LAGGING)
    run.model.load_state_dict(ask(digits, lagging).weights)
    run.model.double().eval()
    seen = {}
    for name, module in run.model.named_modules():
        if isinstance(module, RunningNorm):
            module.register_forward_hook(lambda module, inputs, output, name=name: seen.update({name: inputs[0]}))
    inputs, _ = run.data.train.batch(torch.arange(len(run.data.train)))
    with torch.no_grad():
        run.model(inputs.double())
    assert seen
    for name, x in seen.items():
        norm = run.model.get_submodule(name)
        torch.testing.assert_close(norm.running_mean, x.mean(0), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(norm.running_var, x.var(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "request_", [{}, {"mode": "batch", "samples": 300}, {"data": {"source": "test"}}], ids=str
)
def test_equal_requests_give_equal_files(digits, lagging, request_):
    assert save(ask(digits, lagging, **request_).weights) == save(ask(digits, lagging, **request_).weights)


def test_recalibrating_twice_changes_nothing(digits, lagging):
    once = ask(digits, lagging)
    twice = ask(digits, once.weights)
    assert save(once.weights) == save(twice.weights)
    assert twice.result["before"] == once.result["after"] == twice.result["after"]


def test_test_inputs_are_another_source_and_their_labels_are_not_read(digits, lagging):
    def with_labels(labels: np.ndarray) -> CachedData:
        arrays = digits.arrays
        other = type(arrays)(**dict(arrays.items()) | {"test_targets": labels})
        return CachedData(arrays=other, digest=digits.digest)

    labels = digits.arrays.test_targets
    one, other = (
        ask(with_labels(given), lagging, data={"source": "test"}) for given in (labels, labels[::-1].copy())
    )
    assert save(one.weights) == save(other.weights)
    assert one.result["samples"] == 360
    assert save(one.weights) != save(ask(digits, lagging, samples=360).weights)


def test_statistics_of_shifted_inputs_bring_their_accuracy_back(digits, lagging):
    """AdaBN: a model meets inputs of less contrast, and gets statistics of them."""
    spec = small_spec(**LAGGING)
    dim = (digits.arrays.test_inputs * 0.25).astype(np.float32)
    targets = torch.from_numpy(digits.arrays.test_targets)

    def accuracy(weights) -> float:
        run = runs.make_run(spec, digits, CPU)
        run.model.load_state_dict(weights)
        with torch.no_grad():
            logits = run.model.eval()(torch.from_numpy(dim) / 16)
        return (logits.argmax(1) == targets).double().mean().item()

    normal = ask(digits, lagging).weights
    adapted = ask(digits, lagging, inputs=dim, data={"source": "inputs"})
    assert accuracy(normal) < 0.6
    assert accuracy(adapted.weights) > 0.85
    assert adapted.result["samples"] == 360


@pytest.mark.parametrize("preparation", [{}, {"standardize": True}, {"binarize": True}], ids=str)
def test_own_inputs_are_prepared_as_the_jobs(digits, preparation, tmp_path):
    """The data set's own raw test inputs give the statistics that source `test` gives."""
    spec = small_spec(dataset={"name": "digits"} | preparation)
    folders = {"data_dir": tmp_path, "cache": tmp_path / "cache"}
    cached = cache.load(spec.dataset.info, binarize=spec.dataset.binarize, **folders)
    weights = runs.make_run(spec, cached, CPU).model.state_dict()
    raw = digits.arrays.test_inputs.astype(np.float32)
    theirs = ask(cached, weights, spec, inputs=raw, data={"source": "inputs"})
    ours = ask(cached, weights, spec, data={"source": "test"})
    assert save(theirs.weights) == save(ours.weights)


@pytest.mark.parametrize("mode", ["batch", "sequential"])
@pytest.mark.parametrize("samples", [2, 3, 33, 65])
def test_no_batch_is_of_a_single_sample(digits, lagging, mode, samples):
    made = ask(digits, lagging, mode=mode, samples=samples, batch_size=32 if samples > 3 else 2)
    assert made.result["samples"] == samples
    assert all(torch.isfinite(values).all() for values in made.weights.values())


def test_mode_batch_does_not_see_the_classes_one_by_one(digits, lagging):
    arrays = digits.arrays
    rows = np.argsort(arrays.train_targets, kind="stable")
    by_class = {"train_inputs": arrays.train_inputs[rows], "train_targets": arrays.train_targets[rows]}
    cached = CachedData(arrays=type(arrays)(**dict(arrays.items()) | by_class), digest="")
    result = ask(cached, lagging, mode="batch", batch_size=16).result
    assert result["after"]["test/accuracy"] > 0.9
    assert result["after"]["test/loss"] == pytest.approx(
        ask(digits, lagging).result["after"]["test/loss"], rel=0.05
    )


def test_averaged_weights_get_statistics_of_their_own(digits):
    """Two hundred steps of a slow average are far from the weights whose running averages it has."""
    changes = {"norm": {"name": "batch"}, "steps": 200, "ema": {"decay": 0.99, "use_buffers": False}}
    _, reporter = trained(digits, **changes)
    result = ask(digits, reporter.snapshots[-1].averaged, small_spec(**changes)).result
    assert result["after"]["gap/eval_mode/loss"] < result["before"]["gap/eval_mode/loss"]
    assert all(site["delta"] > 0.05 for site in result["drift"].values())


def test_a_regression_is_recalibrated_too(tmp_path):
    changes = {"dataset": {"name": "gaussian_linear"}, "norm": {"name": "batch", "momentum": 0.001}, "steps": 100}
    spec = small_spec(**changes)
    cached = cache.load(spec.dataset.info, binarize=False, data_dir=tmp_path, cache=tmp_path / "cache")
    _, reporter = trained(cached, **changes)
    result = ask(cached, reporter.snapshots[-1].weights, spec, samples=500).result
    assert result["after"]["gap/eval_mode/rmse"] < result["before"]["gap/eval_mode/rmse"]
    inputs = np.random.default_rng(0).standard_normal((20, 10, 1, 1)).astype(np.float32)
    assert (
        ask(cached, reporter.snapshots[-1].weights, spec, inputs=inputs, data={"source": "inputs"}).result[
            "samples"
        ]
        == 20
    )


@pytest.mark.parametrize("norm", ["ghost_batch", "batch_renorm", "lp_batch", "noisy_batch", "sync_batch"])
def test_every_norm_with_running_averages_is_recalibrated(digits, norm):
    changes = {"norm": {"name": norm, "momentum": 0.001}, "steps": 60}
    _, reporter = trained(digits, **changes)
    weights = reporter.snapshots[-1].weights
    made = ask(digits, weights, small_spec(**changes))
    changed = {name for name, before in weights.items() if not torch.equal(made.weights[name], before)}
    assert changed == set(filter(is_statistic, weights))
    assert made.result["after"]["gap/eval_mode/loss"] < made.result["before"]["gap/eval_mode/loss"]


def test_statistics_that_are_not_finite_are_refused(digits, lagging):
    weights = lagging | {"linear1.weight": lagging["linear1.weight"] * 1e38}
    with pytest.raises(DataError, match="norm1"):
        ask(digits, weights)
