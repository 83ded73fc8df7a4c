"""What recording costs: steps per second of a job against the same training in a plain torch loop.

    python -m benchmarks.loop [--blocks 20] [--steps 1000] [--jobs 5]

The job is MNIST in black and white, 784-100-100-100-10 with sigmoids, batch norm, SGD and batches of 60, on one
thread. The base is the loop that one writes by hand for it and that records nothing. `normlab` is the job as a
worker runs it: its loop, its reporter with the thread that writes, and a real SQLite database, until the last
number of the block is committed. MNIST comes from `NORMLAB_DATA_DIR`, or from the hub.
"""

import argparse
import gc
import logging
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch

from benchmarks import peers, plain
from benchmarks.jobs import Installation, temporary_folder
from benchmarks.paired import TURN_STEPS, Candidate, Pair, Spread, Timing, Turns, compare, verdict
from benchmarks.plain import PlainLoop, Tensors, own_kernels

#: Steps per second of a job over those of the base, at default recording.
TARGET = 0.95
#: Steps of one whole job.
JOB_STEPS = 10_000

NOISE, JOB = "plain again (noise)", "normlab"
CLOCKS = {"cpu_s": "CPU time", "wall_s": "wall time"}

Results = dict[str, list[Pair]]


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    gc.freeze()  # as a worker's fork server does: a collection need not walk what is imported
    logging.getLogger().setLevel(logging.WARNING)
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores, one thread")
    with temporary_folder() as folder:
        installation = Installation.under(Path(folder))
        tensors = Tensors.of(installation.cached.arrays)
        candidates = step_candidates(installation, tensors)
        turns = partial(Turns, PlainLoop(tensors), own_kernels)
        results: Results = {candidate.name: [] for candidate in candidates}
        for name, pair in compare(candidates, turns, options.blocks, options.steps):
            results[name].append(pair)
        print_steps(results, options.steps)
        if options.jobs:
            print_jobs([whole_jobs(installation, tensors) for _ in range(options.jobs)])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop", description="What recording costs.")
    parser.add_argument("--blocks", type=int, default=20, help="paired blocks of each candidate")
    parser.add_argument("--steps", type=int, default=1000, help="training steps of a block")
    parser.add_argument("--jobs", type=int, default=5, help="pairs of whole jobs; 0 for none")
    return parser.parse_args()


def step_candidates(installation: Installation, tensors: Tensors) -> list[Candidate]:
    """What is compared with the base step by step."""
    plain_block = partial(plain.plain_block, tensors)
    return [
        Candidate(name=NOISE, block=plain_block),
        Candidate(name=JOB, block=installation.block),
        Candidate(
            name="normlab, statistics every step",
            block=partial(installation.block, statistics={"every": 1}),
        ),
        Candidate(name="plain, a job's kernel settings", block=partial(plain.deterministic_block, tensors)),
        Candidate(
            name="plain + .item() + hooks",
            block=partial(plain_block, trainer=plain.train_recording),
        ),
        Candidate(name="plain + DataLoader", block=partial(plain.loader_block, tensors)),
        Candidate(
            name=f"Lightning {peers.VERSION} + self.log",
            block=partial(peers.lightning_block, tensors),
            share=0.5,
        ),
    ]


def whole_jobs(installation: Installation, tensors: Tensors) -> Pair:
    """One job with every default, and the plain one after it."""
    job = timed(partial(installation.whole_job, JOB_STEPS))
    return Pair(steps=JOB_STEPS, candidate=job, base=timed(partial(plain.whole_job, tensors, JOB_STEPS)))


def timed(action: Callable[[], None]) -> Timing:
    """What an action took."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return Timing(wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)


def print_steps(results: Results, steps: int) -> None:
    """Ratios of steps per second, by CPU time and by wall time, and whether the target is reached."""
    pairs = [pair for found in results.values() for pair in found]
    rates = [
        f"{median(pair.steps / getattr(pair.base, clock) for pair in pairs):.0f} by {name}"
        for clock, name in CLOCKS.items()
    ]
    print(f"\nSteps per second over the base's: {len(results[JOB])} blocks of {steps} steps of each,")
    print(f"in turns of {TURN_STEPS} steps with the base, `plain`, which takes {' and '.join(rates)}.")
    for clock, name in CLOCKS.items():
        spreads = {row: Spread.of([pair.ratio(clock) for pair in found]) for row, found in results.items()}
        print(f"\n| by {name} | median | 95 % interval | quartiles | min to max |\n|---|---|---|---|---|")
        for row, spread in spreads.items():
            ranges = " | ".join(map(_range, (spread.interval, spread.quartiles, spread.extremes)))
            print(f"| {row} | {spread.median:.3f} | {ranges} |")
        print(f"\n{JOB} / plain >= {TARGET} by {name}: {verdict(spreads[JOB], spreads[NOISE], TARGET)}.")


def print_jobs(pairs: list[Pair]) -> None:
    """Seconds of whole jobs, and their ratio."""
    print(f"\nWhole job: {JOB_STEPS} steps; {len(pairs)} alternated pairs. Plain tests after each tenth;")
    print("normlab evaluates all modes there, saves its checkpoints and keeps its records.")
    print("\n| by | normlab's seconds | plain's seconds | time over plain's | min to max |")
    print("|---|---|---|---|---|")
    for clock, name in CLOCKS.items():
        spread = Spread.of([1 / pair.ratio(clock) for pair in pairs])
        ours = median(getattr(pair.candidate, clock) for pair in pairs)
        base = median(getattr(pair.base, clock) for pair in pairs)
        print(f"| {name} | {ours:.2f} | {base:.2f} | {spread.median:.3f} | {_range(spread.extremes)} |")


def _range(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.3f} to {bounds[1]:.3f}"


if __name__ == "__main__":
    main()
