"""Patterns of signs: which units of a network are active, sample by sample."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Signs:
    """Whether each unit is above 0 for each sample, eight units in a byte: (N, bytes)."""

    packed: NDArray[np.uint8]
    units: int

    @staticmethod
    def of(y: Tensor) -> "Signs":
        """The signs of y: (N, *)."""
        active = (y > 0).flatten(1).cpu().numpy()
        return Signs(packed=np.packbits(active, axis=1), units=active.shape[1])

    @staticmethod
    def join(parts: Sequence["Signs"]) -> "Signs":
        """The signs of several layers as those of one."""
        packed = np.concatenate([part.packed for part in parts], axis=1)
        return Signs(packed=packed, units=sum(part.units for part in parts))

    def regions(self) -> int:
        """How many different patterns there are among the samples: the linear regions that they lie in."""
        return len({row.tobytes() for row in self.packed})

    def hamming(self, neighbours: NDArray[np.int64]) -> float:
        """The share of units in whose sign a sample differs from its neighbour, the mean over samples."""
        different = np.bitwise_count(self.packed ^ self.packed[neighbours]).sum(axis=1, dtype=np.int64)
        return float(different.mean() / self.units)


def nearest(inputs: Tensor) -> NDArray[np.int64]:
    """The index of the sample nearest to each one but itself: (N,). inputs: (N, *), two samples or more."""
    flat = inputs.flatten(1)
    distances = torch.cdist(flat, flat).fill_diagonal_(torch.inf)
    found: NDArray[np.int64] = distances.argmin(1).cpu().numpy()
    return found
