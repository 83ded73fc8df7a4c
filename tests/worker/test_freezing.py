"""Jobs whose norms are frozen after some steps."""

import numpy as np
import pytest
import torch

from tests.worker.support import trained

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
