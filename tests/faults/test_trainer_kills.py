"""Trainers killed at random moments and in the middle of a checkpoint: the job ends as if nothing had happened."""

import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from db import checkpoints
from db.folder import TEMPORARY
from tests.e2e.client import DIGITS
from tests.faults.harness import STACKS, Stack, WorkerProcess
from tests.services import wait_for

pytestmark = pytest.mark.faults

#: Everything that has a state of its own: moments of the optimizer, averages, generators, the scheduler.
SPEC = {
    **DIGITS,
    "architecture": {"name": "mlp", "hidden": [64, 64], "activation": "relu", "dropout": 0.2},
    "optimizer": {"name": "AdamW", "lr": 1e-3},
    "scheduler": {"name": "CosineAnnealingLR"},
    "ema": {"decay": 0.9},
    "evaluate": {"every": 150},
    "statistics": {"every": 50},
    "checkpoint": {"every": 40, "keep_last": 2},
}
#: Kills of one job, and steps for each of them: it must not end before the last.
SHORT, LONG, STEPS_PER_KILL = 5, 30, 300
#: What to wait for before a kill.
MOMENTS = ("any", "file half written", "files without their row")


@dataclass(kw_only=True)
class Killer:
    """Kills the trainer of one job, and looks at what it was doing."""

    stack: Stack
    worker: WorkerProcess
    job: str
    chance: random.Random
    #: By what the dead trainer has left behind.
    hits: Counter[str] = field(default_factory=Counter)

    @property
    def folder(self) -> Path:
        return self.stack.home / "store" / "jobs" / self.job

    def kill(self, moment: str) -> None:
        """Wait for a trainer and for the moment, then SIGKILL; the next trainer is another process."""
        (trainer,) = wait_for(self.worker.trainers, timeout=60, every=0.01)
        before = self.files()
        if moment == "any":
            time.sleep(self.chance.uniform(0, 1.2))
        else:
            wait_for(lambda: self.has_come(moment, before), timeout=60, every=0.0002)
        os.kill(trainer, signal.SIGKILL)
        wait_for(lambda: trainer not in self.worker.trainers(), timeout=10, every=0.005)
        self.hits[self.left_behind(before)] += 1

    def files(self) -> set[Path]:
        return set(self.folder.glob("*/*/*"))

    def has_come(self, moment: str, before: set[Path]) -> bool:
        new = {path.name for path in self.files() - before}
        if moment == "files without their row":
            return "state.pt" in new
        return any(name.startswith(TEMPORARY) for name in new)

    def left_behind(self, before: set[Path]) -> str:
        """What the trainer was at when it died."""
        new = self.files() - before
        if any(path.name.startswith(TEMPORARY) for path in new):
            return "file half written"
        with self.stack.database().read() as session:
            named = {Path(each.state_key).parent.name for each in checkpoints.list_for(session, self.job)}
        if {path.parent.name for path in new} - named:
            return "files without their row"
        return "elsewhere"


def test_a_job_whose_trainer_is_killed_again_and_again_ends_bit_for_bit_as_undisturbed(stack, long, seed, figures):
    client, kills = stack.client(), LONG if long else SHORT
    (worker,) = stack.running_workers()
    spec = {**SPEC, "steps": STEPS_PER_KILL * kills}
    undisturbed = client.run(spec)
    expected = stack.weights_sha256(undisturbed["id"]), stack.series(undisturbed["id"])
    assert set(expected[0]) == {"model.safetensors", "model-ema.safetensors"}
    for number in range(seed, seed + (3 if long and stack.kind == STACKS[0] else 1)):
        with figures.counting("trainer killed", stack) as tally:
            killer = Killer(stack=stack, worker=worker, job=client.submit(spec), chance=random.Random(number))
            tally.ends[killer.job] = "succeeded"
            for place in range(kills):
                tally.tried += 1
                killer.kill(MOMENTS[place % len(MOMENTS)])
                hits = ", ".join(f"{count} {what}" for what, count in sorted(killer.hits.items()))
                tally.note = f"seed {number}: {hits}"
            job = client.wait(killer.job)
            stack.check_whole(killer.job)
            assert (stack.weights_sha256(killer.job), stack.series(killer.job)) == expected
            assert shown(job) == shown(undisturbed)
            assert job["attempt"] == kills + 1
            tally.survived = kills


def shown(job):
    """What a job says of its metrics, but for its speed."""
    return [
        {name: point for name, point in job[which].items() if name != "samples_per_second"}
        for which in ("latest", "best")
    ]
