"""What the loop indexes: tensors on the device."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worker.data.arrays import Arrays, Inputs, Targets

#: Mean and standard deviation of each channel.
Moments = tuple[Sequence[float], Sequence[float]]

#: Seed of the choices that are the same for every job: `train_limit`, `test_limit`, the validation part, the fixed
#: training subset.
FIXED_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Samples on the device. inputs: (N, C, H, W) uint8 or float32; targets: (N,) int64 or (N, outputs) float32.

    The network gets inputs * scale + shift; both are one number, or one for each channel: (C, 1, 1).
    """

    inputs: Tensor
    targets: Tensor
    scale: float | Tensor
    shift: Tensor | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Some samples as float32, and their targets."""
        # Pixels are gathered as bytes: a quarter of the memory traffic of gathering floats.
        inputs = self.inputs.index_select(0, rows).to(torch.float32)
        if isinstance(self.scale, Tensor) or self.scale != 1:
            inputs.mul_(self.scale)
        if self.shift is not None:
            # Not addcmul: on the CPU it takes twice the time of both passes where it broadcasts.
            inputs.add_(self.shift)
        return inputs, self.targets.index_select(0, rows)

    def batches(self, size: int, *, drop_last: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """All samples in their own order."""
        rows = torch.arange(len(self), device=self.targets.device)
        for part in rows.split(size):
            if len(part) == size or not drop_last:
                yield self.batch(part)

    def subset(self, rows: Tensor) -> "Samples":
        """Some samples, as samples of their own."""
        inputs, targets = self.inputs.index_select(0, rows), self.targets.index_select(0, rows)
        return replace(self, inputs=inputs, targets=targets)

    def limited(self, limit: int | None) -> "Samples":
        """At most `limit` of them, the same ones every time."""
        if limit is None or limit >= len(self):
            return self
        return self.subset(_fixed_choice(len(self), limit, self.targets.device))

    def holding_out(self, count: int) -> tuple["Samples", "Samples | None"]:
        """Those that are left, in their own order, and `count` held out, the same ones every time."""
        if not count:
            return self, None
        rows = _fixed_choice(len(self), len(self), self.targets.device)
        return self.subset(rows[count:].sort().values), self.subset(rows[:count])


@dataclass(frozen=True, kw_only=True)
class Data:
    """The data of one job: train and test, and a fixed subset of train on which the modes are compared."""

    train: Samples
    test: Samples
    gap: Samples
    #: Held out of the training samples, where the job has such a part.
    validation: Samples | None = None


def place(
    arrays: Arrays,
    device: torch.device,
    *,
    scale: float,
    standard: Moments | None = None,
    train_limit: int | None = None,
    test_limit: int | None = None,
    validation_samples: int = 0,
    gap_samples: int,
) -> Data:
    """Put the data on the device, once; on the CPU it stays in the mapped files.

    Raw values are multiplied by `scale`. `standard` are mean and standard deviation of the products, which become
    0 and 1. Of the samples that `train_limit` leaves, `validation_samples` are held out of training and of the
    subset of `gap_samples`.
    """
    linear = (scale, None) if standard is None else _standardizing(scale, standard, device)
    limited = _samples(arrays.train_inputs, arrays.train_targets, device, *linear).limited(train_limit)
    train, validation = limited.holding_out(validation_samples)
    test = _samples(arrays.test_inputs, arrays.test_targets, device, *linear).limited(test_limit)
    gap = train.subset(_fixed_choice(len(train), min(gap_samples, len(train)), device))
    return Data(train=train, test=test, gap=gap, validation=validation)


def _samples(
    inputs: Inputs,
    targets: Targets,
    device: torch.device,
    scale: float | Tensor,
    shift: Tensor | None,
) -> Samples:
    places = torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device)
    return Samples(inputs=places[0], targets=places[1], scale=scale, shift=shift)


def _standardizing(scale: float, standard: Moments, device: torch.device) -> tuple[Tensor, Tensor]:
    """Factor and summand by which x becomes (x * scale - mean) / std. (C, 1, 1) each."""
    mean, std = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in standard)
    return (scale / std).to(device, torch.float32), (-mean / std).to(device, torch.float32)


def _fixed_choice(available: int, wanted: int, device: torch.device) -> Tensor:
    """The same `wanted` of `available` rows every time; a larger choice begins with the smaller one."""
    order = torch.randperm(available, generator=torch.Generator().manual_seed(FIXED_SEED))
    return order[:wanted].to(device)
