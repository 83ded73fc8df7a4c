"""Jobs whose norms are frozen after some steps."""

import copy

import numpy as np
import pytest
import torch

from tests.worker.support import trained
from worker.probes.base import State
from worker.probes.covariate_shift import CovariateShift
from worker.probes.geometry import Geometry
from worker.probes.landscape import Landscape

NORMS = [{"name": "batch"}, {"name": "noisy_batch"}, {"name": "batch_renorm"}, {"name": "ghost_batch", "size": 8}]
SGD = {"name": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "decay_norm": True}


def norm_state(run) -> dict[str, torch.Tensor]:
    return {name: value for name, value in run.model.state_dict().items() if name.startswith("norm")}


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm["name"])
def test_from_that_step_on_the_norms_stay_as_they_were_and_the_rest_learns(digits, norm):
    until, _ = trained(digits, norm=norm, steps=20, optimizer=SGD)
    whole, _ = trained(digits, norm={**norm, "freeze_after": 20}, steps=40, optimizer=SGD)
    expected = norm_state(until)
    assert expected.keys() == norm_state(whole).keys()
    assert not norm["name"] == "batch" or expected["norm1.num_batches_tracked"] == 20
    # The ramps of renormalization depend on the length of the job, but begin after its first steps.
    exact = norm["name"] != "batch_renorm"
    for name, value in norm_state(whole).items():
        assert torch.equal(value, expected[name]) if exact else torch.isfinite(value).all()
    assert not torch.equal(whole.model.linear2.weight, until.model.linear2.weight)


def test_the_record_goes_on_with_the_moments_of_batches_beside_fixed_stored_ones(digits):
    changes = {"statistics": {"every": 1}, "steps": 12}
    _, frozen = trained(digits, norm={"name": "batch", "freeze_after": 6}, **changes)
    _, free = trained(digits, norm={"name": "batch"}, **changes)
    columns = {
        name: np.concatenate([moments[name] for _, moments, _ in frozen.sites["norm1"]])
        for name in ("train.mean", "train.var", "eval.mean", "eval.var")
    }
    assert (columns["eval.mean"][5:] == columns["eval.mean"][5]).all()
    assert (np.diff(columns["eval.mean"][:6], axis=0) != 0).all()
    assert (np.diff(columns["train.mean"], axis=0) != 0).all()
    # The step after the freeze still has the weights that both have.
    assert np.array_equal(
        columns["train.var"][6], np.concatenate([m["train.var"] for _, m, _ in free.sites["norm1"]])[6]
    )


def test_evaluations_go_on_to_measure_batch_statistics(digits):
    """What train mode would be without the freeze is a question still; what it is now is eval mode."""
    frozen, _ = trained(digits, norm={"name": "batch", "freeze_after": 20}, steps=40)
    metrics = frozen.evaluator.evaluate().metrics
    assert metrics["gap/train_mode/loss"] != metrics["gap/eval_mode/loss"]
    assert all(norm.frozen for norm in frozen.averages.norms)
    for norm in frozen.averages.norms:
        norm.frozen = False
    assert frozen.evaluator.evaluate().metrics == metrics


def test_a_recurrent_job_trains_on(digits):
    changes = {"architecture": {"name": "lstm", "hidden": [8]}, "steps": 10, "evaluate": {"every": 5}}
    run, reporter = trained(digits, norm={"name": "batch", "freeze_after": 5}, **changes)
    assert np.isfinite(reporter.series("train/loss")).all()
    assert run.model.lstm1.norm_cell.num_batches_tracked == 5


@pytest.mark.parametrize(
    ("norm", "architecture"),
    [*((norm["name"], None) for norm in NORMS[:3]), ("batch", {"name": "lstm", "hidden": [8]})],
)
def test_the_landscape_is_of_the_loss_that_trains(digits, norm, architecture):
    changes = {"architecture": architecture} if architecture else {}
    probes = [{"name": "landscape", "every": 2, "points": 2}]
    _, reporter = trained(digits, norm={"name": norm, "freeze_after": 4}, steps=8, probes=probes, **changes)
    losses = reporter.series("train/loss")
    assert [step for step, _ in reporter.probes["landscape"]] == [2, 4, 6, 8]
    for step, values in reporter.probes["landscape"][2:]:
        assert values["loss"] == pytest.approx(losses[step - 1], rel=1e-6)


def test_probes_of_gradients_see_what_frozen_norms_have_stored_and_the_jitter_is_of_batches(digits):
    relu = {"name": "mlp", "hidden": [16, 8], "activation": "relu"}
    run, _ = trained(digits, norm={"name": "batch", "freeze_after": 20}, architecture=relu)
    run.model.train()
    batches = [run.data.train.batch(torch.arange(at, at + 32)) for at in (0, 32, 64)]
    inputs, targets = batches[0]
    before, after = copy.deepcopy(run.model), copy.deepcopy(run.model)
    with torch.no_grad():
        after.linear1.weight.add_(0.01)
    state = State(before=before, after=after, inputs=inputs, targets=targets, lr=0.1, objective=run.objective)
    gradients = [
        Landscape(every=1, low=0.5, high=4.0, points=2, largest_step=None),
        CovariateShift(every=1),
    ]
    geometry = Geometry(every=1, radius=0.1, inputs=inputs, batches=lambda: [each for each, _ in batches])
    first, jitter = [probe.measure(state) for probe in gradients], geometry.measure(state)["norm1/jitter"]
    before.norm1.running_mean.add_(0.5)
    assert all(probe.measure(state) != was for probe, was in zip(gradients, first, strict=True))
    assert geometry.measure(state)["norm1/jitter"] == jitter > 0
