"""Which samples of a job come together: the batches of every epoch."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class BatchOrder:
    """The batches as a job draws them: training takes epochs 1, 2, ...; epoch 0 is there for measurements.

    With `classes_per_batch` k, each class's samples are shuffled and cut into pieces of size / k, and a batch
    takes pieces of k different classes, chosen at random with the weight of what they have left (Wu & Johnson
    2021, arXiv 2105.07576, on batches that are not i.i.d.). What is left over, ragged pieces or those of too few
    classes, fills the last batches of the epoch, which may hold more classes: with 32 samples of 2 classes, 2 or
    3 of the 1875 batches of MNIST did so, in each of 20 epochs.
    """

    samples: int
    #: Samples of a batch.
    size: int
    seed: int
    #: With the labels of all samples, on the host: (samples).
    classes_per_batch: int | None = None
    labels: Tensor | None = None
    device: torch.device | None = None

    def epoch(self, number: int) -> tuple[Tensor, ...]:
        """The rows of each batch, on the device; they depend on `seed` and `number` alone.

        Every sample is in one batch. A ragged last batch is kept; a single sample joins the batch before it,
        because a batch of one has no variance.
        """
        # Drawn on the host, so that the order does not depend on the device.
        generator = torch.Generator().manual_seed(_mix(self.seed, number))
        rows = torch.randperm(self.samples, generator=generator)
        if self.classes_per_batch is not None and self.labels is not None:
            rows = rows[_by_class(self.labels[rows], self.size, self.classes_per_batch, generator)]
        batches: tuple[Tensor, ...] = rows.to(self.device).split(self.size)
        if self.size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
            return (*batches[:-2], torch.cat(batches[-2:]))
        return batches


def _by_class(labels: Tensor, size: int, classes: int, generator: torch.Generator) -> Tensor:
    """An order of samples in which each `size` of them, but for the last ones, have `classes` different labels."""
    piece = size // classes
    rows = labels.argsort(stable=True).split(torch.bincount(labels).tolist())
    chosen = _draw_classes([len(each) // piece for each in rows], classes, generator)
    pieces = [iter(each.split(piece)) for each in rows]
    mixed = [next(pieces[label]) for batch in chosen for label in batch]
    # Shuffled within each batch, so that parts of it, as ghost norms take them, hold its classes too.
    if mixed:
        whole = torch.cat(mixed).view(-1, size)
        shuffle = torch.rand(whole.shape, generator=generator).argsort(1)
        mixed = [whole.gather(1, shuffle).flatten()]
    return torch.cat([*mixed, *(part for left in pieces for part in left)])


def _draw_classes(pieces: list[int], classes: int, generator: torch.Generator) -> list[list[int]]:
    """Labels of each batch as long as enough classes have a piece left: (batches) of (classes)."""
    left = np.array(pieces)
    draws = torch.rand(left.sum() // classes, len(left), dtype=torch.float64, generator=generator).numpy()
    chosen = []
    for draw in draws:
        if np.count_nonzero(left) < classes:
            break
        # Efraimidis & Spirakis 2006: the largest u^(1/w) are a choice with weights w and without replacement.
        batch = np.argsort(np.where(left > 0, draw ** (1 / np.maximum(left, 1)), -1))[-classes:]
        left[batch] -= 1
        chosen.append(batch.tolist())
    return chosen


def _mix(seed: int, epoch: int) -> int:
    """One 63-bit seed from two numbers, without collisions between near ones."""
    state = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]
    return int(state) >> 1
