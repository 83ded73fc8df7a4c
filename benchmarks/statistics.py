"""What the record of the sites costs: the loop with it against the same loop without.

    python -m benchmarks.statistics [--blocks 8] [--steps 1000] [--resnet 12]

Two jobs on one thread: the MNIST network of `benchmarks.loop`, and a ResNet-20 on CIFAR-10 with batches of 128.
The base is normlab's own loop that records its losses and keeps them to itself. A candidate is a job as a worker
runs it, with the thread that writes and a real SQLite database, until the last number of the block is committed.
The job without statistics is the row that the others are compared with: what is left over is what statistics cost.
"""

import argparse
import gc
import logging
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.jobs import JOB, NEVER, Installation, temporary_folder
from benchmarks.paired import Candidate, Pair, Spread, Turns, compare, verdict
from benchmarks.plain import own_kernels
from db.datasets import DATASETS, DatasetName
from db.spec.job import JobSpec
from worker.assembly import make_run
from worker.data.cache import CachedData
from worker.run import load_data
from worker.trainer import Run, schedule, train_step

RESNET: dict[str, Any] = {
    "dataset": {"name": "cifar10"},
    "architecture": {"name": "resnet", "depth": 20},
    "norm": {"name": "batch"},
    "batch_size": 128,
    "seed": 0,
    "device": "cpu",
}
#: Steps of a turn of the ResNet, a tenth of a second and more each.
RESNET_TURN = 2

NOISE = "no statistics (noise)"
#: What a row records, and the steps per second over the noise row's that it should reach.
ROWS: dict[str, tuple[dict[str, Any], float | None]] = {
    NOISE: ({"every": NEVER}, None),
    "default: everything every 100 steps": ({}, 0.98),
    "moments every 100 steps": ({"details": False}, 0.98),
    "moments every step": ({"every": 1, "details": False}, 0.95),
    "everything every step": ({"every": 1}, None),
}
EVERY_STEP = ("moments every step", "everything every step")


class OwnLoop:
    """normlab's loop without statistics; what it records goes nowhere."""

    def __init__(self, values: dict[str, Any], cached: CachedData) -> None:
        self._run = run_of(values | {"statistics": {"every": NEVER}}, cached)
        self._steps = schedule(self._run.plan, self._run.order)
        self._run.model.train()

    def __call__(self, steps: int) -> None:
        for place, parts in islice(self._steps, steps):
            train_step(self._run, place.step, parts)
            if self._run.recorder.is_full():
                self._run.recorder.flush()


def run_of(values: dict[str, Any], cached: CachedData) -> Run:
    """A run that does not end by itself, under the kernels of a job."""
    never = {"steps": NEVER, "evaluate": {"every": NEVER}, "checkpoint": {"every": NEVER}}
    with own_kernels():
        return make_run(JobSpec.model_validate({**values, **never}).resolved(), cached, torch.device("cpu"))


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One network: its job, its data, and how it is measured."""

    name: str
    job: dict[str, Any]
    cached: CachedData
    rows: Sequence[str]
    turn_steps: int
    blocks: int
    steps: int

    def pairs(self, installation: Installation) -> Iterator[tuple[str, Pair]]:
        """All blocks of all rows, each beside the base."""
        base = OwnLoop(self.job, self.cached)
        candidates = [
            Candidate(
                name=row,
                block=partial(installation.block, job=self.job, cached=self.cached, statistics=ROWS[row][0]),
            )
            for row in self.rows
        ]
        turns = partial(Turns, base, own_kernels, self.turn_steps)
        return compare(candidates, turns, self.blocks, self.steps, self.turn_steps)


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    gc.freeze()  # as a worker's fork server does
    logging.getLogger().setLevel(logging.WARNING)
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores, one thread")
    with temporary_folder() as folder:
        installation = Installation.under(Path(folder))
        for measurement in measurements(installation, options):
            found: dict[str, list[Pair]] = {row: [] for row in measurement.rows}
            for row, pair in measurement.pairs(installation):
                found[row].append(pair)
            print_rows(measurement, found)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.statistics", description="What statistics cost.")
    parser.add_argument("--blocks", type=int, default=8, help="paired blocks of each row")
    parser.add_argument("--steps", type=int, default=1000, help="training steps of a block of the MNIST network")
    parser.add_argument("--resnet", type=int, default=12, help="training steps of a block of the ResNet; 0: none")
    return parser.parse_args()


def measurements(installation: Installation, options: argparse.Namespace) -> Iterator[Measurement]:
    """The MNIST network with every row; the ResNet where each step is recorded, as its blocks are short."""
    yield Measurement(
        name="MNIST, 784-100-100-100-10, batches of 60",
        job=JOB,
        cached=installation.cached,
        rows=list(ROWS),
        turn_steps=50,
        blocks=options.blocks,
        steps=options.steps,
    )
    if options.resnet:
        yield Measurement(
            name="CIFAR-10, ResNet-20, batches of 128",
            job=RESNET,
            cached=load_data(installation.settings, DATASETS[DatasetName.CIFAR10]),
            rows=[NOISE, *EVERY_STEP],
            turn_steps=RESNET_TURN,
            blocks=options.blocks,
            steps=options.resnet,
        )


def print_rows(measurement: Measurement, found: dict[str, list[Pair]]) -> None:
    """Steps per second of each row over those of the job without statistics, by CPU time and by wall time."""
    print(f"\n{measurement.name}: {measurement.blocks} blocks of {measurement.steps} steps of each.")
    for clock, name in {"cpu_s": "CPU time", "wall_s": "wall time"}.items():
        ratios = {row: [pair.ratio(clock) for pair in pairs] for row, pairs in found.items()}
        without = median(ratios[NOISE])
        spreads = {row: Spread.of([ratio / without for ratio in each]) for row, each in ratios.items()}
        print(f"\n| by {name} | median | 95 % interval | min to max | target |\n|---|---|---|---|---|")
        for row, spread in spreads.items():
            target = ROWS[row][1]
            said = "" if target is None else f"{target}: {verdict(spread, spreads[NOISE], target)}"
            (low, high), (least, most) = spread.interval, spread.extremes
            print(
                f"| {row} | {spread.median:.3f} | {low:.3f} to {high:.3f} | {least:.3f} to {most:.3f} | {said} |"
            )


if __name__ == "__main__":
    main()
