"""Arithmetic on all parameters of a network together: scalars in float64, without a copy of anything large."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

#: Numbers by the name of their parameter.
Vector = Mapping[str, Tensor]

#: Numbers at a time: those of a large layer would take twice its memory in float64.
PIECE = 1 << 17


def norm(vector: Vector) -> Tensor:
    """The Euclidean norm: a scalar."""
    return _norm(_pieces(vector, vector))


def distance(one: Vector, other: Vector) -> Tensor:
    """The norm of one minus other, of the names in `one`: a scalar."""
    pairs = zip(_pieces(one, one), _pieces(other, one), strict=True)
    return _norm(a - b for a, b in pairs)


def dot(one: Vector, other: Vector) -> Tensor:
    """The inner product, of the names in `one`: a scalar."""
    pairs = zip(_pieces(one, one), _pieces(other, one), strict=True)
    return torch.stack([(a * b).sum() for a, b in pairs]).sum()


def _pieces(vector: Vector, names: Iterable[str]) -> Iterator[Tensor]:
    for name in names:
        rows = torch.atleast_1d(vector[name])
        # Not flattened: a gradient is often stored transposed, and would be copied as a whole.
        for piece in rows.split(max(1, PIECE * len(rows) // rows.numel())):
            yield piece.double()


def _norm(pieces: Iterable[Tensor]) -> Tensor:
    total: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(piece) for piece in pieces]))
    return total


def on_host(numbers: Mapping[str, Tensor]) -> dict[str, float]:
    """Scalars as plain numbers; waits for the device once."""
    values = torch.stack([number.double() for number in numbers.values()]).tolist() if numbers else []
    return dict(zip(numbers, values, strict=True))
