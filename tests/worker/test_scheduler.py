"""Schedulers: torch's own rates, after a warm-up, and a resume that nothing tells from a run without one."""

import io
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from tests.db.support import make_spec
from tests.worker.support import trained
from worker.optim import make_optimizer
from worker.scheduler import make_scheduler

STEPS = 24
SGD = {"name": "SGD", "lr": 0.3, "momentum": 0.9, "weight_decay": 0.1}
ADAMW = {"name": "AdamW", "lr": 0.3}
SCHEDULERS: list[dict[str, Any]] = [
    {"name": "StepLR", "step_size": 5, "gamma": 0.7},
    {"name": "MultiStepLR", "milestones": [3, 7, 8], "gamma": 0.7},
    {"name": "ExponentialLR", "gamma": 0.9},
    {"name": "CosineAnnealingLR"},
    {"name": "CosineAnnealingLR", "T_max": 5, "eta_min": 0.01},
    {"name": "CosineAnnealingWarmRestarts", "T_0": 3, "T_mult": 2, "eta_min": 0.01},
    {"name": "LinearLR"},
    {"name": "LinearLR", "start_factor": 1.0, "end_factor": 0.0, "total_iters": None},
    {"name": "ConstantLR", "factor": 0.5, "total_iters": 7},
    {"name": "PolynomialLR", "power": 2.0},
    {"name": "OneCycleLR", "max_lr": 0.7},
    {"name": "OneCycleLR", "max_lr": 0.7, "three_phase": True, "anneal_strategy": "linear", "total_steps": 40},
    {"name": "OneCycleLR", "max_lr": 0.7, "pct_start": 0.0, "cycle_momentum": False},
    {"name": "CyclicLR", "base_lr": 0.1, "max_lr": 0.7, "step_size_up": 3, "cycle_momentum": True},
    {"name": "CyclicLR", "base_lr": 0.1, "max_lr": 0.7, "step_size_up": 2, "mode": "exp_range", "gamma": 0.99},
    {"name": "CyclicLR", "base_lr": 0.1, "max_lr": 0.7, "step_size_up": 2, "mode": "triangular2"},
]
every_scheduler = pytest.mark.parametrize("scheduler", SCHEDULERS, ids=str)
every_warm_up = pytest.mark.parametrize("warmup_steps", [0, 1, 4])


class Training:
    """A layer, its optimizer of two groups, and its scheduler."""

    def __init__(self, scheduler: dict[str, Any] | None, optimizer: dict[str, Any] = SGD) -> None:
        torch.manual_seed(0)
        spec = make_spec(steps=STEPS, optimizer=optimizer, scheduler=scheduler)
        self.layer = nn.Linear(2, 2)
        self.optimizer = make_optimizer(spec.optimizer, self.layer)
        self.optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 0.2})
        self.scheduler = make_scheduler(spec.scheduler, self.optimizer, STEPS)

    def held(self) -> list[tuple[Any, Any, Any]]:
        """The rate and the momentum of each group."""
        return [(group["lr"], group.get("momentum"), group.get("betas")) for group in self.optimizer.param_groups]

    def steps(self, first: int, last: int) -> list[list[tuple[Any, Any, Any]]]:
        """What each step uses."""
        used = []
        for _ in range(first, last + 1):
            self.scheduler.begin_step()
            for group in self.optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = parameter.detach().clone()
            self.optimizer.step()
            used.append(self.held())
        return used

    def rates(self) -> list[float]:
        return [groups[0][0] for groups in self.steps(1, STEPS)]


def stored(state: Any) -> Any:
    """A state that has been in a file, which holds nothing that could run code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@every_scheduler
@every_warm_up
@pytest.mark.parametrize("optimizer", [SGD, ADAMW], ids=["SGD", "AdamW"])
def test_a_resume_at_any_step_is_bit_identical_to_a_run_without_one(scheduler, warmup_steps, optimizer):
    scheduler = scheduler | {"warmup_steps": warmup_steps}
    undisturbed = Training(scheduler, optimizer)
    expected = undisturbed.steps(1, STEPS)
    for step in (1, 3, 4, 5, 9, STEPS - 1):
        interrupted = Training(scheduler, optimizer)
        interrupted.steps(1, step)
        states = [part.state_dict() for part in (interrupted.layer, interrupted.optimizer, interrupted.scheduler)]
        layer, held, schedule = stored(states)
        resumed = Training(scheduler, optimizer)
        resumed.scheduler.load_state_dict(schedule)
        resumed.optimizer.load_state_dict(held)
        resumed.layer.load_state_dict(layer)
        assert resumed.steps(step + 1, STEPS) == expected[step:]


def test_a_state_can_be_loaded_more_than_once():
    first = Training({"name": "CyclicLR", "base_lr": 0.1, "max_lr": 0.7})
    first.steps(1, 5)
    state = first.scheduler.state_dict()
    for _ in range(2):
        resumed = Training({"name": "CyclicLR", "base_lr": 0.1, "max_lr": 0.7})
        resumed.scheduler.load_state_dict(state)
        assert resumed.scheduler.state_dict() == first.scheduler.state_dict()


@every_scheduler
def test_without_a_warm_up_the_rates_are_torchs(scheduler):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.3, momentum=0.9)
    lengths = {"CosineAnnealingLR": "T_max", "LinearLR": "total_iters", "PolynomialLR": "total_iters"}
    arguments = {name: value for name, value in scheduler.items() if name != "name"}
    length = {"OneCycleLR": "total_steps", **lengths}.get(scheduler["name"], "")
    if length and arguments.get(length) is None and scheduler != {"name": "LinearLR"}:
        arguments[length] = STEPS
    theirs, expected = getattr(lr_scheduler, scheduler["name"])(optimizer, **arguments), []
    for _ in range(STEPS):
        optimizer.step()
        expected.append(optimizer.param_groups[0]["lr"])
        theirs.step()
    assert Training(scheduler).rates() == expected
    assert len(set(expected)) > 1


@pytest.mark.parametrize("warmup_steps", [2, 5])
def test_a_warm_up_rises_evenly_to_the_rate_and_the_schedule_begins_after_it(warmup_steps):
    rates = Training({"name": "ExponentialLR", "gamma": 0.5, "warmup_steps": warmup_steps}).rates()
    assert rates[:warmup_steps] == pytest.approx([0.3 * s / warmup_steps for s in range(1, warmup_steps + 1)])
    assert rates[warmup_steps : warmup_steps + 3] == [0.3, 0.15, 0.075]


def test_a_warm_up_is_that_of_torchs_sequence_of_schedulers():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.3)
    rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / 5, total_iters=4)
    fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS - 5)
    both, expected = lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[5]), []
    for _ in range(STEPS):
        optimizer.step()
        expected.append(optimizer.param_groups[0]["lr"])
        both.step()
    assert Training({"name": "CosineAnnealingLR", "warmup_steps": 5}).rates() == pytest.approx(expected)


def test_a_warm_up_goes_to_the_first_rate_of_a_scheduler_that_sets_its_own():
    rates = Training({"name": "OneCycleLR", "max_lr": 0.5, "warmup_steps": 4}).rates()
    assert rates[:5] == pytest.approx([0.005, 0.01, 0.015, 0.02, 0.02])
    assert max(rates) == pytest.approx(0.5)


def test_every_group_is_scheduled_from_its_own_rate():
    held = Training({"name": "ConstantLR", "factor": 0.5, "total_iters": 3, "warmup_steps": 2}).steps(1, 6)
    rates = [[lr for lr, _, _ in groups] for groups in held]
    assert rates[0] == pytest.approx([0.075, 0.05])
    assert rates[2] == pytest.approx([0.15, 0.1])
    assert rates[5] == pytest.approx([0.3, 0.2])


def test_a_length_that_is_left_out_is_all_steps_after_the_warm_up():
    rates = Training({"name": "PolynomialLR", "warmup_steps": 4}).rates()
    expected = [0.3 * (1 - step / (STEPS - 4)) for step in range(STEPS - 4)]
    assert rates[4:] == pytest.approx(expected)


@every_scheduler
def test_one_more_step_after_the_last_one_is_no_error(scheduler):
    training = Training(scheduler)
    training.rates()
    training.scheduler.begin_step()


def test_a_first_step_that_was_skipped_is_no_cause_for_a_warning():
    training = Training({"name": "StepLR", "step_size": 2})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            training.scheduler.begin_step()
    assert caught == []


def test_no_scheduler_leaves_the_optimizer_alone():
    training = Training(None)
    assert training.scheduler is None
    assert "initial_lr" not in training.optimizer.param_groups[0]


def test_the_rate_of_a_step_stays_until_the_next_one_begins():
    training = Training({"name": "ExponentialLR", "gamma": 0.5})
    assert training.steps(1, 2)[1][0][0] == 0.15
    assert training.optimizer.param_groups[0]["lr"] == 0.15
    training.scheduler.begin_step()
    assert training.optimizer.param_groups[0]["lr"] == 0.075


def test_a_run_reports_the_rate_that_the_evaluated_step_used(digits):
    scheduler = {"name": "PolynomialLR", "warmup_steps": 4}
    _, reporter = trained(digits, steps=8, scheduler=scheduler, evaluate={"every": 2}, statistics={"every": 1})
    reported = reporter.series("lr", "evaluation")
    assert reported == pytest.approx([0.05, 0.1, 0.075, 0.025])  # of steps 2, 4, 6 and 8
    rows = [moments for _, moments, _ in reporter.sites["norm1"]]
    rates = [lr for row in rows for lr in row["layer.effective_lr"] * row["layer.weight_norm"] ** 2]
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.075, 0.05, 0.025])
