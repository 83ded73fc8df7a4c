"""Averaged weights: their values, their evaluation, and what becomes of them."""

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from db import checkpoints
from db.errors import NoAveragedWeights
from db.spec.job import JobSpec
from db.store import Store
from models.norms.batch import BatchNorm
from models.norms.running import RunningAverages
from tests.db.support import claim, job_of, new_job
from tests.worker.support import make_run, trained
from worker.ema import Ema
from worker.errors import Diverged
from worker.reporter import DatabaseReporter
from worker.snapshot import Place, snapshot
from worker.trainer import train

DECAY = 0.75


def network() -> tuple[nn.Module, RunningAverages]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), BatchNorm(3), nn.ReLU(), nn.Linear(3, 2), BatchNorm(2)).double()
    return model, RunningAverages(model.modules())


def step(model: nn.Module, averages: RunningAverages, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.randn(8, 4, dtype=torch.float64)).square().sum().backward()
    averages.update()
    optimizer.step()


def states(use_buffers: bool, steps: int = 6) -> tuple[Ema, list[dict[str, torch.Tensor]], AveragedModel]:
    """After some steps: the average, the model's states along the way, and torch's own average."""
    model, averages = network()
    ema = Ema(model, decay=DECAY, use_buffers=use_buffers)
    stock = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(DECAY), use_buffers=use_buffers)
    optimizer, seen = torch.optim.SGD(model.parameters(), lr=0.01), []
    for _ in range(steps):
        step(model, averages, optimizer)
        averages.settle()
        ema.update()
        stock.update_parameters(model)
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
    ema.settle()
    return ema, seen, stock


@pytest.mark.parametrize("use_buffers", [True, False])
def test_averages_are_those_computed_by_hand_and_torchs_own(use_buffers):
    ema, seen, stock = states(use_buffers)
    for name, value in ema.model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert value == 6
            continue
        if "running" in name and not use_buffers:
            expected = seen[-1][name]
        else:
            expected = seen[0][name]
            for each in seen[1:]:
                expected = DECAY * expected + (1 - DECAY) * each[name]
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(value, stock.module.state_dict()[name], rtol=1e-12, atol=1e-12)


def test_running_averages_of_the_copy_are_its_own():
    """Those of all layers are views of common tensors, which the copy must not share with the model."""
    model, averages = network()
    ema = Ema(model, decay=DECAY, use_buffers=True)
    of_copy = RunningAverages(ema.model.modules())
    before = of_copy.copy()
    for _ in range(3):
        model(torch.randn(8, 4, dtype=torch.float64))
        averages.update()
    assert torch.equal(of_copy.copy(), before)
    assert not torch.equal(averages.copy(), before)


def test_the_training_does_not_notice(digits):
    changes = {"steps": 20, "evaluate": {"every": 5}}
    with_averages, _ = trained(digits, ema={"decay": DECAY}, **changes)
    without, _ = trained(digits, **changes)
    for name, value in without.model.state_dict().items():
        assert torch.equal(with_averages.model.state_dict()[name], value)


@pytest.mark.parametrize("modes", [[], ["eval"], ["train"], ["precise"], ["eval", "train", "precise"]], ids=str)
def test_the_averaged_model_is_evaluated_as_the_model_is(digits, modes):
    evaluate = {"every": 1000, "modes": modes}
    run, reporter = trained(digits, steps=20, ema={"decay": DECAY}, evaluate=evaluate)
    found = run.evaluator.evaluate(run.ema)
    other = make_run(digits, steps=20, evaluate=evaluate)
    other.model.load_state_dict(run.ema.model.state_dict())
    expected = other.evaluator.evaluate()
    assert {
        name.removeprefix("ema/"): value for name, value in found.metrics.items() if name.startswith("ema/")
    } == {name: value for name, value in expected.metrics.items() if "train_mode" not in name}
    assert {f"ema/{name}" for name in expected.metrics if "train_mode" not in name} <= set(
        reporter.streams["evaluation"][0][1]
    )
    if "precise" in modes:
        for name in ("delta", "rho", "kl"):
            at_site = found.sites["norm2"][f"ema.{name}"]
            np.testing.assert_array_equal(at_site, expected.sites["norm2"][f"drift.{name}"])


@pytest.mark.parametrize("use_buffers", [True, False])
def test_averaged_weights_need_population_statistics_of_their_own(digits, use_buffers):
    """Averaged statistics lag twice, and those of the model itself belong to other weights."""
    ema = {"decay": 0.99, "use_buffers": use_buffers}
    run, _ = trained(digits, steps=100, ema=ema, optimizer={"name": "SGD", "lr": 0.5})
    found = run.evaluator.evaluate(run.ema)
    for site in found.sites.values():
        assert site["ema.kl"].mean() > 5 * site["drift.kl"].mean()
    assert found.metrics["ema/test/precise/accuracy"] > found.metrics["ema/test/accuracy"] + 0.1


def test_a_snapshot_has_the_averages(digits):
    run, reporter = trained(digits, steps=20, ema={"decay": DECAY})
    last = reporter.snapshots[-1]
    assert last.averaged.keys() == last.weights.keys()
    assert all(torch.equal(value, run.ema.model.state_dict()[name]) for name, value in last.averaged.items())
    assert not torch.equal(last.averaged["output.weight"], last.weights["output.weight"])
    assert last.averaged["norm1.num_batches_tracked"] == 20
    assert snapshot(make_run(digits), Place()).averaged is None


def test_an_average_that_is_not_finite_ends_the_run(digits):
    run = make_run(digits, ema={"decay": DECAY})
    run.ema.model.output.weight[0, 0] = torch.inf
    with pytest.raises(Diverged, match=r"the averaged output\.weight"):
        snapshot(run, Place(7, 1, 7))


@pytest.mark.parametrize("ema", [None, {"decay": DECAY}])
def test_a_checkpoint_has_a_file_of_the_averages_where_the_job_has_any(database, digits, tmp_path, ema):
    changes = {"steps": 5, "ema": ema, "device": "cpu"}
    job_id, hold, store = new_job(database, **changes), claim(database), Store((tmp_path / "store").as_uri())
    run = make_run(digits, **changes)
    reporter = DatabaseReporter(database, store, hold, JobSpec.model_validate(job_of(database, job_id).resolved))
    assert train(run, reporter, lambda: None) is None
    reporter.close()
    job = job_of(database, job_id)
    with database.read() as session:
        raw = load(store.get(checkpoints.model(session, job, "safetensors").store_key))
        assert all(torch.equal(value, raw[name]) for name, value in run.model.state_dict().items())
        assert checkpoints.model(session, job, "config", "ema").filename == "config.json"
        if ema is None:
            with pytest.raises(NoAveragedWeights, match="no `ema`"):
                checkpoints.model(session, job, "safetensors", "ema")
        else:
            file = checkpoints.model(session, job, "safetensors", "ema")
            assert file.filename == "model-ema.safetensors"
            weights = load(store.get(file.store_key))
            assert all(torch.equal(value, weights[name]) for name, value in run.ema.model.state_dict().items())
