"""The whole state of a run: enough to use the model, and to go on training bit for bit as if nothing had been."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from worker.errors import Diverged

if TYPE_CHECKING:
    from worker.trainer import Run


class Place(NamedTuple):
    """How far a run is: its steps, and the batches of the current epoch (from 1) that it has drawn."""

    step: int = 0
    epoch: int = 1
    batches: int = 0


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A run after a step, on the host."""

    step: int
    weights: dict[str, Tensor]
    #: Averaged ones, where the job has any.
    averaged: dict[str, Tensor] | None = None
    #: Everything else that going on needs: tensors and plain values only, for `weights_only` loading.
    state: dict[str, Any]
    epoch: int = 1
    #: By which the job selects, the greater the better; none where the step was not evaluated.
    score: float | None = None
    #: Whether the run waits for it: the last one does, one on the way may be left out.
    required: bool = True


def snapshot(run: "Run", place: Place, *, score: float | None = None, required: bool = True) -> Snapshot:
    """The state after the step of `place`, copied to the host; nothing recorded may wait for a flush.

    Raises:
        Diverged: a weight or running average, of the averaged model too, is not finite, which the loss may not
            show yet.
    """
    run.averages.settle()
    states = {"": run.model.state_dict()}
    if run.ema is not None:
        run.ema.settle()
        states["the averaged "] = run.ema.model.state_dict()
    for which, state in states.items():
        _check_finite(run, place.step, which, state)
    state = {
        "place": list(place),
        "rng": rng_state(),
        "optimizer": type(run.optimizer).__name__,
        "parts": {name: part.state_dict() for name, part in run.parts().items()},
        "made_by": made_by(run.settings),
    }
    return Snapshot(
        step=place.step,
        weights=on_host(dict(run.model.state_dict())),
        averaged=None if run.ema is None else on_host(dict(run.ema.model.state_dict())),
        state=on_host(state),
        epoch=place.epoch,
        score=score,
        required=required,
    )


#: What a fork begins anew whatever it wants: to stop early, and its best evaluation, are of a job of its own.
OWN = frozenset({"stopping", "selection"})


def restore(run: "Run", saved: Snapshot, *, forked: bool = False) -> Place:
    """Put a run that has just been made into a saved state; returns where it goes on.

    A job goes on with all of it. In a fork, a part whose settings are others than when it was saved begins anew.
    """
    state, same = saved.state, kept_parts(saved, run.settings, forked=forked)
    run.model.load_state_dict(saved.weights)
    run.averages.reload()
    if run.ema is not None and saved.averaged is not None:
        run.ema.model.load_state_dict(saved.averaged)
    for name, part in run.parts().items():
        if name in same and name in state["parts"] and name != "optimizer":
            part.load_state_dict(state["parts"][name])
    _restore_optimizer(run, state, exact={"optimizer", "scheduler"} <= same)
    place = Place(*state["place"])
    if "order" not in same and place.batches:
        # Other batches: what is left of the epoch cannot be told.
        place = Place(place.step, place.epoch + 1, 0)
    if "seed" in same:
        set_rng_state(state["rng"])
    return place


def kept_parts(saved: Snapshot, settings: Mapping[str, Any], *, forked: bool) -> set[str]:
    """The parts that go on from a saved state, of a run with these settings."""
    now = made_by(settings)
    if not forked:
        return set(now)
    return {name for name in now if saved.state["made_by"].get(name) == now[name] and name not in OWN}


def _restore_optimizer(run: "Run", state: Mapping[str, Any], *, exact: bool) -> None:
    """Its moments and its settings; where those are wanted otherwise now, its moments alone if they still fit."""
    optimizer, saved = run.optimizer, state["parts"]["optimizer"]
    fresh = [
        {name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups
    ]
    alike = type(optimizer).__name__ == state["optimizer"] and len(fresh) == len(saved["param_groups"])
    if exact or alike:
        optimizer.load_state_dict(saved)
    if not exact:
        for group, settings in zip(optimizer.param_groups, fresh, strict=True):
            group.update(settings)


def made_by(settings: Mapping[str, Any]) -> dict[str, str]:
    """The settings that each part of a run is made from, as text that compares."""
    return {name: json.dumps(values, sort_keys=True) for name, values in settings.items()}


def _check_finite(run: "Run", step: int, which: str, state: Mapping[str, Tensor]) -> None:
    for name, values in state.items():
        if not torch.isfinite(values).all():
            bad = float(values[~torch.isfinite(values)][0])
            raise Diverged(step, bad, run.optimizer.param_groups[0]["lr"], f"A value of {which}{name}")


def rng_state() -> dict[str, Any]:
    """Of every generator that a run may draw from."""
    _, python, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    state: dict[str, Any] = {
        "python": {"keys": list(python), "gauss": gauss},
        "numpy": {
            "keys": torch.from_numpy(np.asarray(keys, dtype=np.int64)),
            "rest": [str(name), int(position), int(has_gauss), float(cached)],
        },
        "cpu": torch.get_rng_state(),
    }
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Every generator goes on as it would have."""
    random.setstate((random.getstate()[0], tuple(state["python"]["keys"]), state["python"]["gauss"]))
    name, position, has_gauss, cached = state["numpy"]["rest"]
    np.random.set_state((name, state["numpy"]["keys"].numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])


def on_host(value: Any, copy: Callable[[Tensor], Tensor] = lambda each: each.detach().cpu().clone()) -> Any:
    """A copy of nested state with every tensor on the host."""
    if isinstance(value, Tensor):
        return copy(value)
    if isinstance(value, dict):
        return {key: on_host(inner, copy) for key, inner in value.items()}
    return [on_host(inner, copy) for inner in value] if isinstance(value, list) else value
