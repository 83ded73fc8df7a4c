"""A run that goes on from a checkpoint ends as if nothing had been: weights, series and records bit for bit."""

import io
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_safetensors

from db.spec.job import JobSpec
from tests.db.support import make_spec
from tests.worker.comparing import assert_same, numbers
from tests.worker.networks import OPTIONS, SMALL, combinations, noise_images, small_network
from tests.worker.support import CPU, Kept
from worker import export
from worker.assembly import make_run
from worker.data.cache import CachedData
from worker.snapshot import Place, Snapshot, restore
from worker.stop import Stop
from worker.trainer import train

STEPS = 60
#: In the middle of an epoch of 45 batches, and between recorded steps.
CUT = 52


def written_and_read(snapshot: Snapshot) -> Snapshot:
    """Through the bytes that the store holds."""
    state = torch.load(io.BytesIO(export.state_bytes(snapshot)), weights_only=True)
    averaged = snapshot.averaged
    return Snapshot(
        step=snapshot.step,
        weights=load_safetensors(export.model_bytes(snapshot.weights)),
        averaged=None if averaged is None else load_safetensors(export.model_bytes(averaged)),
        state=state,
    )


class Before:
    """Nothing is wanted until the optimizer has made so many steps."""

    def __init__(self, run, steps: int) -> None:
        self._left = steps
        run.optimizer.register_step_post_hook(self._count)

    def _count(self, *_) -> None:
        self._left -= 1

    def __call__(self) -> Stop | None:
        return Stop.PAUSE if self._left <= 0 else None


@pytest.fixture(scope="module")
def images() -> CachedData:
    return noise_images()


class Case:
    """A job and its data."""

    def __init__(self, spec: JobSpec, cached: CachedData) -> None:
        self.spec, self.cached = spec.resolved(), cached

    def run(self):
        return make_run(self.spec, self.cached, CPU)

    def undisturbed(self) -> Kept:
        kept = Kept()
        assert train(self.run(), kept, lambda: None) is None
        return kept

    def cut(self, at: int) -> Kept:
        """Told to pause after a step."""
        kept, run = Kept(), self.run()
        assert train(run, kept, Before(run, at)) is Stop.PAUSE
        assert kept.snapshots[-1].step == at
        return kept

    def resumed(self, snapshot: Snapshot) -> Kept:
        """In another process, whose generators are elsewhere."""
        torch.manual_seed(99)
        np.random.seed(99)
        random.seed(99)
        kept, run = Kept(), self.run()
        place = restore(run, written_and_read(snapshot))
        assert train(run, kept, lambda: None, place) is None
        return kept

    def check(self, at: int) -> None:
        whole, first = self.undisturbed(), self.cut(at)
        rest = self.resumed(first.snapshots[-1])
        assert_same(whole.snapshots[-1].weights, rest.snapshots[-1].weights)
        assert_same(whole.snapshots[-1].averaged, rest.snapshots[-1].averaged)
        assert_same(whole.snapshots[-1].state, rest.snapshots[-1].state)
        assert_same(numbers(whole), numbers(first, rest))


MIXED = {"statistics": {"every": 7}, "evaluate": {"every": 20, "train_samples": 64}, "checkpoint": {"every": 25}}
MIXED |= {"dataset": {"name": "digits", "train_limit": 700, "test_limit": 50}, "steps": STEPS}


def of_digits(digits, **changes) -> Case:
    architecture = {"name": "mlp", "hidden": [16, 8], "dropout": 0.2}
    return Case(make_spec(**{"device": "cpu", "architecture": architecture} | MIXED | changes), digits)


NORMS = [name for architecture, name, position in combinations() if architecture == "mlp"]


@pytest.mark.parametrize("norm", dict.fromkeys(NORMS))
def test_every_norm_goes_on_as_if_nothing_had_been(digits, norm):
    of_digits(digits, norm={"name": norm, **OPTIONS.get(norm, {})}).check(CUT)


@pytest.mark.parametrize("architecture", SMALL)
def test_every_network_goes_on_as_if_nothing_had_been(images, architecture):
    changes = {"steps": 6, "evaluate": {"every": 4, "train_samples": 16}, "statistics": {"every": 2}}
    changes |= {"loss": {"name": "auto"}}
    spec = JobSpec.model_validate(small_network(architecture, "batch").to_json() | changes)
    Case(spec, images).check(3)


MOMENTUM = {"name": "SGD", "momentum": 0.9}
PARTS = {
    "momentum": {"optimizer": {"name": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3}},
    "adamw": {"optimizer": {"name": "AdamW", "lr": 1e-2}},
    "accumulate": {"optimizer": {"name": "SGD", "accumulate": 4}},
    "ema": {"ema": {"decay": 0.9}},
    "ema of weights": {"ema": {"decay": 0.9, "use_buffers": False}},
    "frozen before": {
        "norm": {"name": "batch", "freeze_after": 40},
        "optimizer": {"name": "SGD", "momentum": 0.9},
    },
    "frozen after": {"norm": {"name": "batch", "freeze_after": 55}},
    "scheduler": {"scheduler": {"name": "CosineAnnealingLR", "warmup_steps": 10}},
    "in the warm-up": {"scheduler": {"name": "StepLR", "step_size": 2, "warmup_steps": 56}},
    "one cycle": {
        "scheduler": {"name": "OneCycleLR", "max_lr": 0.2},
        "optimizer": {"name": "SGD", "momentum": 0.9},
    },
    "early stopping": {"early_stopping": {"patience": 2}, "evaluate": {"every": 7}},
    "validation": {"dataset": {"name": "digits", "validation_fraction": 0.5}, "checkpoint": {"keep_best": 2}},
    "few classes": {"dataset": {"name": "digits", "classes_per_batch": 2}},
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16", "optimizer": MOMENTUM},
    "probes": {
        "probes": [
            {"name": "landscape", "every": 13, "points": 2},
            {"name": "covariate_shift", "every": 13},
        ]
    },
    "sparse records": {"record": {"every": 3}, "statistics": {"every": 1, "details": False}},
}


@pytest.mark.parametrize("part", PARTS)
def test_every_part_of_a_run_goes_on_as_if_nothing_had_been(digits, part):
    of_digits(digits, **PARTS[part]).check(CUT)


@pytest.mark.parametrize("at", [1, 21, 22, 25, 44, 59])
def test_wherever_it_was_cut(digits, at):
    of_digits(digits, ema={"decay": 0.9}, optimizer={"name": "AdamW", "accumulate": 2}).check(at)


@pytest.mark.parametrize("lost", ["parts", "rng", "place", "ema", "statistics", "optimizer"])
def test_a_state_that_lacks_a_part_does_not_go_on_as_if_nothing_had_been(digits, lost):
    """The comparison above can fail: each part matters."""
    case = of_digits(digits, ema={"decay": 0.9}, optimizer={"name": "AdamW"})
    whole, first = case.undisturbed(), case.cut(CUT)
    snapshot = first.snapshots[-1]
    state = dict(snapshot.state)
    if lost in ("parts", "rng", "place"):
        fresh = case.cut(1).snapshots[-1].state
        state[lost] = [CUT, 9, 0] if lost == "place" else fresh[lost]
    else:
        state["parts"] = state["parts"] | {lost: case.cut(1).snapshots[-1].state["parts"][lost]}
    if lost == "ema":
        state["parts"]["ema"] = {"begun": False}
    rest = case.resumed(replace(snapshot, state=state))
    ends = [
        {"averaged": kept.snapshots[-1].averaged, "numbers": numbers(*parts)}
        for kept, parts in ((whole, [whole]), (rest, [first, rest]))
    ]
    with pytest.raises(AssertionError):
        assert_same(*ends)


def test_a_run_that_had_made_all_its_steps_has_nothing_left_to_do(digits):
    case = of_digits(digits)
    last = case.undisturbed().snapshots[-1]
    kept = case.resumed(last)
    assert (kept.calls, kept.snapshots) == (["first_step"], [])


def test_what_a_fork_wants_otherwise_begins_anew_and_the_rest_goes_on(digits):
    case = of_digits(digits, optimizer={"name": "SGD", "lr": 0.1, "momentum": 0.9})
    snapshot = case.cut(CUT).snapshots[-1]
    other = of_digits(digits, optimizer={"name": "SGD", "lr": 0.01, "momentum": 0.9}, batch_size=16).run()
    assert restore(other, written_and_read(snapshot), forked=True) == Place(CUT, snapshot.state["place"][1] + 1, 0)
    group = other.optimizer.param_groups[0]
    assert (group["lr"], group["momentum"]) == (0.01, 0.9)
    moments = other.optimizer.state_dict()["state"]
    saved = snapshot.state["parts"]["optimizer"]["state"]
    assert all(torch.equal(moments[i]["momentum_buffer"], saved[i]["momentum_buffer"]) for i in saved)
    adam = of_digits(digits, optimizer={"name": "AdamW"}).run()
    restore(adam, written_and_read(snapshot), forked=True)
    assert adam.optimizer.state_dict()["state"] == {}


def test_a_job_goes_on_with_every_part_whatever_its_settings_are_called_by_now(digits):
    """As after an upgrade that has given a part one more field."""
    case = of_digits(digits, **PARTS["scheduler"])
    whole, first = case.undisturbed(), case.cut(CUT)
    saved = first.snapshots[-1]
    older = {name: text.replace("{", '{"then": 1, ', 1) for name, text in saved.state["made_by"].items()}
    rest = case.resumed(replace(saved, state=saved.state | {"made_by": older}))
    assert_same(whole.snapshots[-1].weights, rest.snapshots[-1].weights)
    assert_same(numbers(whole), numbers(first, rest))


def test_a_fork_stops_early_and_selects_for_itself(digits):
    changes = {"early_stopping": {"target": 0.01}, "evaluate": {"every": 10}}
    stopped = of_digits(digits, **changes).undisturbed().snapshots[-1]
    assert stopped.step == 10
    run = of_digits(digits, **changes).run()
    restore(run, written_and_read(stopped), forked=True)
    assert not run.is_stopped_early
    assert run.selection.state_dict() == {"value": None}


def test_a_schedule_that_begins_anew_in_a_fork_is_over_the_steps_that_are_left(digits):
    case = of_digits(digits, scheduler={"name": "CosineAnnealingLR"})
    snapshot = written_and_read(case.undisturbed().snapshots[-1])
    longer = of_digits(digits, scheduler={"name": "CosineAnnealingLR"}, steps=2 * STEPS).spec
    run, kept = make_run(longer, digits, CPU, begun=STEPS), Kept()
    assert train(run, kept, lambda: None, restore(run, snapshot, forked=True)) is None
    rates = kept.series("lr", "evaluation")
    assert rates[0] < 0.1
    assert 0 < rates[-1] < 1e-3
