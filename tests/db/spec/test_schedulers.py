"""Schedulers of the spec: torch's names, arguments and defaults, and which of them suit a job."""

import inspect
from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError

from db.spec.job import JobSpec
from db.spec.schedulers.union import Scheduler
from tests.db.support import make_spec

PARTS = get_args(get_args(Scheduler)[0])
MOMENTUM = {"name": "SGD", "momentum": 0.9}
#: Arguments that are given in another way, that need code, or that count epochs.
LEFT_OUT = {"self", "optimizer", "last_epoch", "scale_fn", "scale_mode", "epochs", "steps_per_epoch"}
#: torch's default would leave a rate of 0 after 5 steps; and one that needs an optimizer with momentum.
OTHER_DEFAULTS = {("PolynomialLR", "total_iters"): None, ("CyclicLR", "cycle_momentum"): False}


def scheduled(name: str, steps: int = 100, optimizer: Any = MOMENTUM, **arguments: Any) -> JobSpec:
    return make_spec(steps=steps, optimizer=optimizer, scheduler={"name": name, **arguments})


def refusal(**spec: Any) -> tuple[str, str, Any]:
    """Code, pointer and what is allowed."""
    with pytest.raises(ValidationError) as refused:
        scheduled(**spec)
    (error,) = refused.value.errors(include_url=False)
    return error["type"], error["ctx"]["pointer"], error["ctx"]["allowed"]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_arguments_and_defaults_are_torchs(part):
    theirs = inspect.signature(getattr(torch.optim.lr_scheduler, part.__name__).__init__).parameters
    fields = {name: field for name, field in part.model_fields.items() if name not in ("name", "warmup_steps")}
    assert fields.keys() == theirs.keys() - LEFT_OUT
    for name, field in fields.items():
        if (part.__name__, name) in OTHER_DEFAULTS:
            assert field.default == OTHER_DEFAULTS[part.__name__, name]
        elif theirs[name].default is inspect.Parameter.empty:
            assert field.is_required() or field.default is None
        else:
            assert field.default == theirs[name].default


def test_there_is_none_unless_one_is_asked_for_and_one_makes_another_job():
    assert make_spec().scheduler is None
    plain, cosine = make_spec(steps=100, optimizer=MOMENTUM), scheduled("CosineAnnealingLR")
    assert JobSpec.model_validate(cosine.resolved().to_json()) == cosine.resolved()
    assert plain.digest() != cosine.digest() != scheduled("CosineAnnealingLR", warmup_steps=1).digest()


@pytest.mark.parametrize(
    "scheduler",
    [
        {"name": "ReduceLROnPlateau"},
        {"name": "StepLR"},
        {"name": "StepLR", "step_size": 1.0},
        {"name": "StepLR", "step_size": 1, "warmup_steps": -1},
        {"name": "StepLR", "step_size": 1, "epochs": 3},
        {"name": "MultiStepLR", "milestones": []},
        {"name": "LinearLR", "start_factor": 0.0},
        {"name": "ConstantLR", "factor": 0.0},
        {"name": "OneCycleLR"},
        {"name": "OneCycleLR", "max_lr": 1.0, "pct_start": 1.0},
        {"name": "CyclicLR", "base_lr": 0.1, "max_lr": 1.0, "gamma": 1.1},
    ],
    ids=repr,
)
def test_what_torch_could_not_run_is_refused(scheduler):
    with pytest.raises(ValidationError):
        make_spec(scheduler=scheduler)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_a_warm_up_leaves_at_least_one_step(part):
    needed = {"step_size": 9, "milestones": [9], "gamma": 0.5, "T_0": 9, "base_lr": 0.1, "max_lr": 1.0}
    arguments = {name: value for name, value in needed.items() if name in part.model_fields}
    assert scheduled(part.__name__, warmup_steps=99, **arguments).scheduler.warmup_steps == 99
    too_long = refusal(name=part.__name__, warmup_steps=100, **arguments)
    assert too_long == ("warmup_too_long", "/scheduler/warmup_steps", "0 to 99")


@pytest.mark.parametrize("milestones", [[20, 10], [10, 10]])
def test_milestones_increase(milestones):
    assert scheduled("MultiStepLR", milestones=[10, 20]).scheduler.milestones == (10, 20)
    code, pointer, _ = refusal(name="MultiStepLR", milestones=milestones)
    assert (code, pointer) == ("not_increasing", "/scheduler/milestones")


@pytest.mark.parametrize("cyclic", [{"name": "OneCycleLR"}, {"name": "CyclicLR", "base_lr": 0.1}], ids=str)
def test_a_momentum_is_moved_only_where_there_is_one(cyclic):
    moved = {**cyclic, "max_lr": 1.0, "cycle_momentum": True}
    refused = refusal(optimizer={"name": "SGD"}, **moved)
    assert refused == ("no_momentum", "/scheduler/cycle_momentum", [False])
    assert scheduled(optimizer={"name": "SGD"}, **moved | {"cycle_momentum": False})
    assert scheduled(optimizer={"name": "AdamW"}, **moved)
    assert scheduled(optimizer=MOMENTUM, **moved)


def test_one_cycle_lasts_as_long_as_the_job():
    cycle = {"name": "OneCycleLR", "max_lr": 1.0, "warmup_steps": 10}
    too_short = refusal(**cycle, total_steps=89)
    assert too_short == ("cycle_too_short", "/scheduler/total_steps", "at least 90")
    assert scheduled(**cycle, total_steps=90)


def test_one_cycle_has_phases_that_torch_can_divide_by():
    cycle = {"name": "OneCycleLR", "max_lr": 1.0}
    assert refusal(**cycle, steps=10, pct_start=0.1)[:2] == ("rise_of_one_step", "/scheduler/pct_start")
    assert scheduled(**cycle, steps=10, pct_start=0.0)
    assert refusal(**cycle, three_phase=True, pct_start=0.6)[:2] == ("phases_too_long", "/scheduler/pct_start")
    assert scheduled(**cycle, three_phase=True, pct_start=0.5)


def test_cycles_go_up_first_and_halves_of_halves_come_to_an_end():
    assert refusal(name="CyclicLR", base_lr=1.0, max_lr=0.5)[1:] == ("/scheduler/max_lr", "at least 1")
    short = {"name": "CyclicLR", "base_lr": 0.1, "max_lr": 1.0, "step_size_up": 1}
    assert refusal(**short, steps=2000, mode="triangular2")[:2] == ("too_many_cycles", "/scheduler/step_size_up")
    assert scheduled(**short, steps=1999, mode="triangular2")
    assert scheduled(**short, steps=2000)


def test_epochs_are_counted_in_steps_too():
    # 3 epochs of 45 batches.
    changes = {"steps": None, "epochs": 3, "scheduler": {"name": "CosineAnnealingLR", "warmup_steps": 135}}
    with pytest.raises(ValidationError, match="all of the 135 steps"):
        make_spec(**changes)
