"""What the loop indexes: tensors on the device, and an order of samples for each epoch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worker.data.arrays import Arrays

#: Seed of the choices that are the same for every job: `train_limit` and the fixed training subset.
FIXED_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Samples on the device. inputs: (N, C, H, W) uint8; targets: (N,) int64; inputs are multiplied by `scale`."""

    inputs: Tensor
    targets: Tensor
    scale: float

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Some samples as float32, and their targets."""
        # Gathered as bytes: a quarter of the memory traffic of gathering floats.
        inputs = self.inputs.index_select(0, rows).to(torch.float32)
        return (inputs if self.scale == 1 else inputs.mul_(self.scale)), self.targets.index_select(0, rows)

    def batches(self, size: int, *, drop_last: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """All samples in their own order."""
        rows = torch.arange(len(self), device=self.targets.device)
        for part in rows.split(size):
            if len(part) == size or not drop_last:
                yield self.batch(part)

    def subset(self, rows: Tensor) -> "Samples":
        """Some samples, as samples of their own."""
        return Samples(
            inputs=self.inputs.index_select(0, rows),
            targets=self.targets.index_select(0, rows),
            scale=self.scale,
        )


@dataclass(frozen=True, kw_only=True)
class Data:
    """The data of one job: train and test, and a fixed subset of train on which the modes are compared."""

    train: Samples
    test: Samples
    gap: Samples


def place(
    arrays: Arrays,
    device: torch.device,
    *,
    scale: float,
    train_limit: int | None,
    gap_samples: int,
) -> Data:
    """Put the data on the device, once; on the CPU it stays in the mapped files."""
    train = _samples(arrays.train_inputs, arrays.train_targets, device, scale)
    test = _samples(arrays.test_inputs, arrays.test_targets, device, scale)
    if train_limit is not None and train_limit < len(train):
        train = train.subset(_fixed_choice(len(train), train_limit, device))
    gap = train.subset(_fixed_choice(len(train), min(gap_samples, len(train)), device))
    return Data(train=train, test=test, gap=gap)


def _samples(
    inputs: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    targets: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    device: torch.device,
    scale: float,
) -> Samples:
    return Samples(
        inputs=torch.from_numpy(inputs).to(device), targets=torch.from_numpy(targets).to(device), scale=scale
    )


def _fixed_choice(available: int, wanted: int, device: torch.device) -> Tensor:
    """The same `wanted` of `available` rows every time; a larger choice begins with the smaller one."""
    order = torch.randperm(available, generator=torch.Generator().manual_seed(FIXED_SEED))
    return order[:wanted].to(device)


def epoch_batches(
    samples: int, size: int, seed: int, epoch: int, device: torch.device | None = None
) -> tuple[Tensor, ...]:
    """The rows of each batch of one epoch: a permutation that depends on `seed` and `epoch` alone.

    A ragged last batch is kept; a single sample joins the batch before it, because a batch of one has no
    variance.
    """
    generator = torch.Generator().manual_seed(_mix(seed, epoch))
    # Drawn on the host, so that the order does not depend on the device.
    order = torch.randperm(samples, generator=generator).to(device)
    batches: tuple[Tensor, ...] = order.split(size)
    if size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        return (*batches[:-2], torch.cat(batches[-2:]))
    return batches


def _mix(seed: int, epoch: int) -> int:
    """One 63-bit seed from two numbers, without collisions between near ones."""
    state = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]
    return int(state) >> 1
