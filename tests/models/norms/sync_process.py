"""What each of the processes of the test of synchronized batch norm does."""

from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed as dist

from models.norms.running import RunningAverages
from models.norms.sync import SyncBatchNorm
from tests.models.norms.checks import loss_of, sample, with_random_state

#: Samples of the two processes, and what one sample has beside its channels.
SHARDS = {"equal": (4, 4), "unequal": (7, 3), "one sample": (6, 1), "none": (5, 0), "one each": (1, 1)}
PLACES = {"vectors": (), "images": (4, 2)}
CASES = [(shard, places) for shard in SHARDS for places in PLACES]
MOMENTA = (0.1, None)
CHANNELS = 3
STEPS = 3


def batch(case: tuple[str, str], step: int = 0) -> torch.Tensor:
    """The joined batch, far from 0, in float64."""
    shard, places = case
    return sample((sum(SHARDS[shard]), CHANNELS, *PLACES[places]), seed=step) + 100


def norm_of(momentum: float | None) -> torch.nn.Module:
    return with_random_state(SyncBatchNorm(CHANNELS, momentum=momentum))


def run(rank: int, folder: Path) -> None:
    """Train on this process's shard of each case; save the output, gradients and buffers."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    try:
        results = {(case, momentum): _train(rank, case, momentum) for case in CASES for momentum in MOMENTA}
        results["eval"] = _evaluate(rank)
        results["float32"] = _offset_float32(rank)
        results["one value"] = _one_value(rank)
        torch.save(results, folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


def _train(rank: int, case: tuple[str, str], momentum: float | None) -> dict[str, torch.Tensor]:
    norm = norm_of(momentum)
    averages = RunningAverages([norm])
    for step in range(STEPS):
        norm.zero_grad()
        joined = batch(case, step)
        part = slice(0, SHARDS[case[0]][0]) if rank == 0 else slice(SHARDS[case[0]][0], None)
        x = joined[part].clone().requires_grad_()
        y = norm(x)
        # A zero adds nothing to the loss: those of the processes add up to that of the joined batch.
        among_zeros = torch.zeros_like(joined)
        among_zeros[part] = y
        loss_of(among_zeros).backward()
        averages.update()
    averages.settle()
    gradients = {f"grad {name}": parameter.grad for name, parameter in norm.named_parameters()}
    raw = norm.raw_moments(x.numel() // CHANNELS)
    return {"y": y.detach(), "grad x": x.grad, "raw": raw, **gradients, **dict(norm.named_buffers())}


def _evaluate(rank: int) -> torch.Tensor:
    """In eval mode no process waits for another."""
    return norm_of(0.1).eval()(batch(("unequal", "images"))) if rank == 0 else torch.empty(0)


def _offset_float32(rank: int) -> dict[str, torch.Tensor]:
    """Values whose mean is a thousand times their deviation, in float32."""
    norm = SyncBatchNorm(CHANNELS)
    y = norm((sample((400, CHANNELS), seed=5) / 3 + 1000).float()[rank * 300 :][:300])
    return {"y": y.detach(), "var": norm.batch_var}


def _one_value(rank: int) -> list[str]:
    """What is said of a joined batch of one value of a channel, in either process, and of an empty one."""
    said = []
    for values in (1 - rank, rank, 0):
        try:
            SyncBatchNorm(CHANNELS)(torch.ones(values, CHANNELS))
        except ValueError as error:
            said.append(str(error))
    return said
