"""Jobs that are disturbed, and what they come to undisturbed."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db import checkpoints
from db.store import StoredFile
from db.tables import Checkpoint
from tests.e2e.client import Client
from tests.faults.harness import Stack
from tests.services import wait_for

#: Everything that has a state takes part: optimizer, schedule, averages, dropout.
SPEC = {
    "dataset": {"name": "digits"},
    "architecture": {"name": "mlp", "hidden": [32, 16], "dropout": 0.1},
    "norm": {"name": "batch"},
    "optimizer": {"name": "AdamW", "lr": 0.01},
    "scheduler": {"name": "CosineAnnealingLR"},
    "ema": {"decay": 0.9},
    "batch_size": 60,
    "steps": 3200,
    "evaluate": {"every": 1000, "train_samples": 256},
    "checkpoint": {"every": 100, "keep_last": 3, "keep_best": 0},
}


def outcome(stack: Stack, job: str) -> dict[str, Any]:
    """What must be the same bit for bit whatever has happened on the way."""
    return {"weights": stack.weights_sha256(job), **stack.series(job)}


@dataclass
class Reference:
    """The outcomes of jobs that nothing happened to, each run once."""

    stack: Stack
    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The outcome of a job with this spec; how often it is saved makes no difference."""
        key = json.dumps({**spec, "checkpoint": None}, sort_keys=True)
        if key not in self.known:
            self.known[key] = outcome(self.stack, self.stack.client().run(spec)["id"])
        return self.known[key]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A checkpoint and its files."""

    row: Checkpoint
    state: StoredFile
    files: dict[str, StoredFile]

    @property
    def needed(self) -> dict[str, StoredFile]:
        """The files that going on needs, by name."""
        weights = {name: file for name, file in self.files.items() if name.endswith(".safetensors")}
        return {"state.pt": self.state, **weights}


def kept(stack: Stack, job: str) -> list[Kept]:
    """The checkpoints of a job that are not known to be damaged, the newest first."""
    with stack.database().read() as session:
        found = []
        for row in checkpoints.resumable(session, job):
            files = checkpoints.trained_files(session, row.id)
            named = {file.filename: file.stored for file in files}
            found.append(Kept(row=row, state=checkpoints.state_file(row, files), files=named))
        return found


def path(stack: Stack, file: StoredFile) -> Path:
    """Where a file of the store lies."""
    return stack.home / "store" / file.key


def timeline(client: Client, job: str, type: str | None = None) -> list[dict[str, Any]]:
    """The lines of a job, of one type or all."""
    lines: list[dict[str, Any]] = []
    while page := client.get(f"/v1/jobs/{job}/events", after=len(lines), limit=100)["data"]:
        lines += page
    return [line for line in lines if type in (None, line["type"])]


def after_step(client: Client, job: str, step: int) -> dict[str, Any]:
    """The job once it has made so many steps; it must not have ended."""

    def reached() -> dict[str, Any] | None:
        shown = client.job(job)
        assert not shown["finished_at"], "too quick, or failed: " + str(shown["failure"])
        return shown if shown["progress"]["step"] >= step else None

    return wait_for(reached)


def command(client: Client, job: str, name: str, *codes: int) -> dict[str, Any]:
    """Give a command that must be taken, or answered with one of `codes`."""
    answer = client.http.post(f"/v1/jobs/{job}/{name}")
    assert answer.status_code in (codes or (202,)), (name, answer.text)
    return answer.json()


def pause(client: Client, job: str) -> dict[str, Any]:
    """The job once it is paused."""
    command(client, job, "pause")
    shown = client.wait(job, "paused")
    assert shown["status"] == "paused", shown
    return shown


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
