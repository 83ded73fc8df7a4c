"""The loop: what it trains, reports and saves, and when it stops."""

import math
from itertools import count

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.worker.support import Kept, make_run, trained
from worker.errors import Diverged
from worker.snapshot import Snapshot
from worker.stop import Stop
from worker.trainer import schedule, train

EPOCH = 45  # batches of 32 in an epoch of digits


def assert_same_weights(one: Snapshot, other: Snapshot) -> None:
    assert one.weights.keys() == other.weights.keys()
    assert all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())


@pytest.fixture(scope="module")
def plain(digits) -> Kept:
    """What a run of 50 steps reports."""
    return trained(digits)[1]


@pytest.mark.parametrize("optimizer", [{"name": "SGD", "momentum": 0.9}, {"name": "AdamW"}], ids=str)
def test_the_same_seed_gives_bit_identical_weights_and_another_seed_others(digits, optimizer):
    runs = [trained(digits, optimizer=optimizer, seed=seed)[1] for seed in (3, 3, 4)]
    first, same, other = (reporter.snapshots[-1] for reporter in runs)
    assert_same_weights(first, same)
    np.testing.assert_array_equal(runs[0].series("train/loss"), runs[1].series("train/loss"))
    assert not torch.equal(first.weights["linear1.weight"], other.weights["linear1.weight"])


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluate": {"every": 3}},
        {"evaluate": {"every": 50, "modes": []}},
        {"statistics": {"every": 1}},
        {"record": {"every": 7}},
        {"checkpoint": {"every": 3}},
    ],
    ids=str,
)
def test_what_is_recorded_does_not_change_what_is_trained(digits, plain, changes):
    _, other = trained(digits, **changes)
    assert_same_weights(plain.snapshots[-1], other.snapshots[-1])


def test_every_step_is_reported_once_from_the_first_to_the_last(digits):
    _, reporter = trained(digits, steps=120)
    assert reporter.steps() == list(range(1, 121))
    assert len(reporter.series("train/loss")) == len(reporter.series("train/accuracy")) == 120
    assert reporter.series("train/loss")[-20:].mean() < reporter.series("train/loss")[:20].mean()


def test_the_order_of_reports_follows_the_run(digits):
    _, reporter = trained(digits, steps=4, evaluate={"every": 2}, checkpoint={"every": 2}, statistics={"every": 2})
    # Where time is due, a flush may come at any step besides; the rest follows from the plan.
    calls = [call for call in reporter.calls if call not in ("metrics train", "progress")]
    sites = ["norm1", "norm2"]
    records = [
        *(f"{what} {site}" for what in ("statistics", "population") for site in sites),
        "metrics evaluation",
    ]
    assert calls == ["first_step", *records, "checkpoint 2", *records, "checkpoint 4"]
    assert "progress" in reporter.calls
    assert reporter.calls.index("metrics train") < reporter.calls.index("metrics evaluation")


@pytest.mark.parametrize("every", [1, 3, 7, 50])
def test_every_kth_step_is_recorded(digits, every):
    _, reporter = trained(digits, record={"every": every})
    assert reporter.steps() == list(range(every, 51, every))


def test_evaluations_come_at_their_interval_and_at_the_last_step(digits):
    _, reporter = trained(digits, evaluate={"every": 20})
    assert reporter.steps("evaluation") == [20, 40, 50]
    assert reporter.series("lr", "evaluation").tolist() == [0.1] * 3
    assert (reporter.series("samples_per_second", "evaluation") > 0).all()
    accuracy = reporter.series("test/accuracy", "evaluation")
    assert accuracy[-1] > 0.5


def test_statistics_come_at_their_interval_and_at_the_first_and_last_step_for_every_site(digits):
    _, reporter = trained(digits, statistics={"every": 20, "percentiles": [50], "units": {"norm1": [1, 5]}})
    assert set(reporter.sites) == {"norm1", "norm2"}
    for name, channels in (("norm1", 8), ("norm2", 4)):
        assert [step for steps, _, _ in reporter.sites[name] for step in steps] == [1, 20, 40, 50]
        for _, moments, _ in reporter.sites[name]:
            by_channel = [values for name, values in moments.items() if not name.startswith("layer.")]
            assert {values.shape for values in by_channel} == {(len(by_channel[0]), channels)}
    assert all(set(percentiles) == {"50"} for _, _, percentiles in reporter.sites["norm1"])
    assert all(percentiles == {} for _, _, percentiles in reporter.sites["norm2"])


def test_checkpoints_come_at_their_interval_and_at_the_last_step_with_settled_counts(digits):
    run, reporter = trained(digits, checkpoint={"every": 20})
    assert [snapshot.step for snapshot in reporter.snapshots] == [20, 40, 50]
    for snapshot in reporter.snapshots:
        for norm in ("norm1", "norm2"):
            assert snapshot.weights[f"{norm}.num_batches_tracked"].item() == snapshot.step
    final = run.model.state_dict()
    assert all(torch.equal(value, final[name]) for name, value in reporter.snapshots[-1].weights.items())


def test_a_snapshot_does_not_change_while_the_run_goes_on(digits):
    _, reporter = trained(digits, checkpoint={"every": 25}, optimizer={"name": "AdamW"})
    early, late = reporter.snapshots
    assert not torch.equal(early.weights["linear1.weight"], late.weights["linear1.weight"])
    assert not torch.equal(early.weights["norm1.running_mean"], late.weights["norm1.running_mean"])
    steps = [each.state["parts"]["optimizer"]["state"][0]["step"].item() for each in reporter.snapshots]
    assert steps == [25, 50]
    assert set(early.state["rng"]) == {"cpu", "numpy", "python"}


def test_progress_tells_the_step_the_epoch_and_the_speed(digits):
    _, reporter = trained(digits, steps=EPOCH + 5)
    step, epoch, speed = reporter.progresses[-1]
    assert (step, epoch) == (EPOCH + 5, 2)
    assert speed > 0
    assert reporter.calls.count("first_step") == 1
    assert reporter.calls[0] == "first_step"


@pytest.mark.parametrize("stop_after", [0, 1, 17, 49])
def test_a_stop_ends_the_run_and_reports_what_was_recorded(digits, stop_after):
    run, reporter, asked = make_run(digits, statistics={"every": 10}), Kept(), count()
    assert train(run, reporter, lambda: Stop.CANCEL if next(asked) == stop_after else None) is Stop.CANCEL
    assert reporter.steps() == list(range(1, stop_after + 1))
    recorded = [step for steps, _, _ in reporter.sites.get("norm1", []) for step in steps]
    assert recorded == [step for step in (1, 10, 20, 30, 40) if step <= stop_after]
    assert reporter.progresses[-1][0] == stop_after
    assert reporter.snapshots == []


def test_a_stop_at_the_last_step_comes_too_late(digits):
    run, reporter, asked = make_run(digits), Kept(), count()
    assert train(run, reporter, lambda: Stop.RELEASE if next(asked) >= 50 else None) is None
    assert reporter.snapshots[-1].step == 50


def diverging(digits, weight_decay: float = 0.0, **changes):
    reporter = Kept()
    linear = {"name": "mlp", "hidden": [8, 4], "activation": "linear"}
    optimizer = {"name": "SGD", "lr": 1e6, "weight_decay": weight_decay}
    run = make_run(digits, norm={"name": "none"}, architecture=linear, optimizer=optimizer, **changes)
    with pytest.raises(Diverged) as diverged:
        train(run, reporter, lambda: None)
    return diverged.value, reporter


def test_a_loss_that_is_not_finite_ends_the_run_at_its_step_with_the_metrics_kept(digits):
    error, reporter = diverging(digits, statistics={"every": 1})
    losses = reporter.series("train/loss")
    assert reporter.steps() == list(range(1, error.step + 1))
    assert np.isfinite(losses[:-1]).all()
    assert not math.isfinite(losses[-1])
    assert 1 < error.step < 50
    assert f"step {error.step}" in str(error)
    assert "1e+06" in error.hint


def test_records_of_a_diverged_run_end_with_it(digits):
    error, reporter = diverging(digits, statistics={"every": 1})
    recorded = [step for steps, _, _ in reporter.sites["norm1"] for step in steps]
    assert recorded == list(range(1, error.step + 1))


def test_the_progress_of_a_diverged_run_does_not_go_beyond_its_end(digits):
    error, reporter = diverging(digits)
    assert error.step < 50
    assert all(step <= error.step for step, _, _ in reporter.progresses)


def test_the_probes_of_a_diverged_run_end_with_it(digits):
    error, reporter = diverging(digits, probes=[{"name": "landscape", "every": 1, "points": 2}])
    steps = [step for step, _ in reporter.probes["landscape"]]
    assert steps[0] == 1
    assert max(steps) <= error.step < 50


@pytest.mark.parametrize("weight_decay", [0.0, 1e36])
def test_a_state_that_is_not_finite_is_never_saved(digits, weight_decay):
    _, reporter = diverging(digits, weight_decay, checkpoint={"every": 1}, evaluate={"every": 50})
    for snapshot in reporter.snapshots:
        values = [value for value in snapshot.weights.values() if value.is_floating_point()]
        assert all(torch.isfinite(value).all() for value in values)


def test_the_recorded_loss_is_that_of_the_batch_before_the_step(digits):
    run = make_run(digits)
    initial = {name: value.clone() for name, value in run.model.state_dict().items()}
    reporter = Kept()
    assert train(run, reporter, lambda: None) is None
    run.model.load_state_dict(initial)
    run.model.train()
    rows = run.order.epoch(1)[0]
    inputs, targets = run.data.train.batch(rows)
    with torch.no_grad():
        loss = F.cross_entropy(run.model(inputs), targets)
    assert reporter.series("train/loss")[0] == pytest.approx(loss.item(), rel=1e-6)


def test_accumulated_batches_make_the_step_of_one_large_batch_where_nothing_depends_on_the_batch(digits):
    plain = {"norm": {"name": "layer"}, "steps": 20}
    _, large = trained(digits, batch_size=64, **plain)
    _, parts = trained(digits, batch_size=32, optimizer={"name": "SGD", "accumulate": 2}, **plain)
    for name, value in large.snapshots[-1].weights.items():
        torch.testing.assert_close(parts.snapshots[-1].weights[name], value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(parts.series("train/loss"), large.series("train/loss"), rtol=1e-4)
    np.testing.assert_allclose(parts.series("train/accuracy"), large.series("train/accuracy"))
    assert parts.steps() == large.steps() == list(range(1, 21))


def test_each_accumulated_batch_is_normalized_alone_and_moves_the_running_averages(digits):
    _, reporter = trained(digits, steps=10, batch_size=16, optimizer={"name": "SGD", "accumulate": 3})
    assert reporter.snapshots[-1].weights["norm1.num_batches_tracked"] == 30
    run, _ = trained(digits, steps=1, batch_size=16, optimizer={"name": "SGD", "lr": 1e-9, "accumulate": 3})
    stock = torch.nn.BatchNorm1d(8)
    inputs = run.data.train.batch(torch.cat(run.order.epoch(1)[:3]))[0]
    with torch.no_grad():
        hidden = inputs.flatten(1) @ run.model.linear1.weight.T
        for part in hidden.split(16):
            stock(part)
    torch.testing.assert_close(run.model.norm1.running_mean, stock.running_mean)
    torch.testing.assert_close(run.model.norm1.running_var, stock.running_var)


def test_a_step_of_ragged_batches_weighs_every_sample_the_same(digits):
    # 1437 samples make 44 batches of 32 and one of 29: the 23rd step has one of each size.
    changes = {"norm": {"name": "none"}, "steps": 23, "optimizer": {"name": "SGD", "lr": 1e-9, "accumulate": 2}}
    run, reporter = trained(digits, batch_size=32, **changes)
    batches = [*run.order.epoch(1), *run.order.epoch(2)][44:46]
    assert [len(rows) for rows in batches] == [29, 32]
    inputs, targets = run.data.train.batch(torch.cat(batches))
    with torch.no_grad():
        loss = F.cross_entropy(run.model(inputs), targets).item()
    assert reporter.series("train/loss")[-1] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize(("accumulate", "batches"), [(24, 24), (7, 21), (1, 24)])
def test_epochs_of_accumulated_batches_train_no_more_than_their_batches(digits, accumulate, batches):
    optimizer = {"name": "SGD", "accumulate": accumulate}
    run, reporter = trained(digits, steps=None, epochs=1, batch_size=60, optimizer=optimizer)
    assert reporter.snapshots[-1].weights["norm1.num_batches_tracked"] == batches
    steps = list(schedule(run.plan, run.order))
    places = [(step, 1, step * accumulate) for step in range(1, len(steps) + 1)]
    assert [place for place, _ in steps] == places
    drawn = torch.cat([rows for _, parts in steps for rows in parts])
    expected = torch.cat(run.order.epoch(1)[:batches])
    assert torch.equal(drawn, expected)  # no sample twice


def test_bfloat16_trains_with_weights_and_running_averages_in_float32(digits):
    _, reporter = trained(digits, precision="bfloat16", steps=10)
    _, exact = trained(digits, steps=10)
    weights = reporter.snapshots[-1].weights
    assert {value.dtype for name, value in weights.items() if "tracked" not in name} == {torch.float32}
    losses, expected = reporter.series("train/loss"), exact.series("train/loss")
    assert not np.array_equal(losses, expected)
    np.testing.assert_allclose(losses, expected, rtol=0.02)
    running, expected = weights["norm1.running_var"], exact.snapshots[-1].weights["norm1.running_var"]
    torch.testing.assert_close(running, expected, rtol=0.02, atol=0)


def test_progress_is_told_with_every_checkpoint(digits):
    _, reporter = trained(digits, steps=30, checkpoint={"every": 10})
    assert [step for step, _, _ in reporter.progresses if step < 30] == [10, 20]
