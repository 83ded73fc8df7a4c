"""What recording costs: steps per second of a job against the same training in a plain torch loop.

    python -m benchmarks.loop [--blocks 20] [--steps 1000] [--jobs 5]

The job is MNIST in black and white, 784-100-100-100-10 with sigmoids, batch norm, SGD and batches of 60, on one
thread. The base is the loop that one writes by hand for it and that records nothing. `normlab` is the job as a
worker runs it: its loop, its reporter with the thread that writes, and a real SQLite database, until the last
number of the block is committed. MNIST comes from `NORMLAB_DATA_DIR`, or from the hub.
"""

import argparse
import logging
import os
import platform
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch

from benchmarks import peers, plain
from benchmarks.jobs import Installation, temporary_folder
from benchmarks.paired import Block, Candidate, Pair, Spread, alternate, verdict
from benchmarks.plain import Tensors

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
    logging.getLogger().setLevel(logging.WARNING)
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores, one thread")
    with temporary_folder() as folder:
        installation = Installation.under(Path(folder))
        tensors = Tensors.of(installation.cached.arrays)
        base = partial(plain.plain_block, tensors)
        results = compare(base, step_candidates(installation, tensors), options.blocks, options.steps)
        print_steps(results, options.steps)
        if options.jobs:
            whole = partial(plain.whole_job, tensors)
            candidates = [
                Candidate(name=NOISE, block=whole),
                Candidate(name=JOB, block=installation.whole_job),
            ]
            print_jobs(compare(whole, candidates, options.jobs, JOB_STEPS))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop", description="What recording costs.")
    parser.add_argument("--blocks", type=int, default=20, help="paired blocks of each candidate")
    parser.add_argument("--steps", type=int, default=1000, help="training steps of a block")
    parser.add_argument("--jobs", type=int, default=5, help="paired whole jobs; 0 for none")
    return parser.parse_args()


def step_candidates(installation: Installation, tensors: Tensors) -> list[Candidate]:
    """What is compared with the base step by step."""
    plain_block = partial(plain.plain_block, tensors)
    return [
        Candidate(name=NOISE, block=plain_block),
        Candidate(name=JOB, block=installation.block),
        Candidate(
            name="normlab, statistics every step",
            block=partial(installation.block, statistics_every=1),
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


def compare(base: Block, candidates: Sequence[Candidate], blocks: int, steps: int) -> Results:
    """The pairs of each candidate."""
    results: Results = {candidate.name: [] for candidate in candidates}
    for name, pair in alternate(base, candidates, blocks, steps):
        results[name].append(pair)
    return results


def print_steps(results: Results, steps: int) -> None:
    """Ratios of steps per second, by CPU time and by wall time, and whether the target is reached."""
    bases = [pair.before for pairs in results.values() for pair in pairs]
    rates = [f"{median(t.steps_per_second(clock) for t in bases):.0f} by {name}" for clock, name in CLOCKS.items()]
    print(f"\nSteps per second over the base's; {len(results[JOB])} paired blocks of {steps} steps.")
    print(f"The base, `plain`, takes {' and '.join(rates)}.")
    for clock, name in CLOCKS.items():
        spreads = {row: Spread.of([pair.ratio(clock) for pair in pairs]) for row, pairs in results.items()}
        print(f"\n| by {name} | median | 95 % interval | quartiles | min to max |\n|---|---|---|---|---|")
        for row, spread in spreads.items():
            ranges = " | ".join(map(_range, (spread.interval, spread.quartiles, spread.extremes)))
            print(f"| {row} | {spread.median:.3f} | {ranges} |")
        print(f"\n{JOB} / plain >= {TARGET} by {name}: {verdict(spreads[JOB], spreads[NOISE], TARGET)}.")


def print_jobs(results: Results) -> None:
    """Seconds of whole jobs, and their ratio."""
    print(f"\nWhole job: {JOB_STEPS} steps; {len(results[JOB])} alternated pairs. Plain tests after each tenth;")
    print("normlab evaluates all modes there, saves its checkpoints and keeps its records.")
    print("\n| whole job | seconds | plain's seconds | time over plain's | min to max | by CPU time |")
    print("|---|---|---|---|---|---|")
    for row, pairs in results.items():
        wall, cpu = (Spread.of([1 / pair.ratio(clock) for pair in pairs]) for clock in ("wall_s", "cpu_s"))
        seconds = median(pair.candidate.wall_s for pair in pairs)
        base = median((pair.before.wall_s + pair.after.wall_s) / 2 for pair in pairs)
        ratios = f"{wall.median:.3f} | {_range(wall.extremes)} | {cpu.median:.3f}"
        print(f"| {row} | {seconds:.2f} | {base:.2f} | {ratios} |")


def _range(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.3f} to {bounds[1]:.3f}"


if __name__ == "__main__":
    main()
