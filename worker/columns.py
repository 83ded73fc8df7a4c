"""Columns of numbers of some sites, as they leave the device."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

#: Columns of one site: name to (rows, values), of one number a step (rows).
Columns = dict[str, NDArray[np.floating]]


def by_site(found: Iterable[tuple[str, str, Tensor]]) -> dict[str, Columns]:
    """Tensors on the host, each with its site and its column, as the columns of each site."""
    columns: dict[str, Columns] = {}
    for site, column, values in found:
        columns.setdefault(site, {})[column] = values.numpy()
    return columns


def joined(parts: Iterable[dict[str, Columns]]) -> dict[str, Columns]:
    """The columns that several parts have of each site."""
    columns: dict[str, Columns] = {}
    for part in parts:
        for site, found in part.items():
            columns[site] = columns.get(site, {}) | found
    return columns
