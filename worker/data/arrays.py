"""A decoded data set."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: (N, C, H, W): pixels, or any numbers.
Inputs = NDArray[np.uint8] | NDArray[np.float32]
#: Classes (N,), or numbers to predict (N, outputs).
Targets = NDArray[np.int64] | NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """A decoded data set."""

    train_inputs: Inputs
    train_targets: Targets
    test_inputs: Inputs
    test_targets: Targets

    def items(self) -> list[tuple[str, NDArray[Any]]]:
        """The arrays by name, in a fixed order."""
        return [(name, getattr(self, name)) for name in self.__dataclass_fields__]

    def digest(self) -> str:
        """sha256 over shapes, types and contents."""
        sha256 = hashlib.sha256()
        for name, array in self.items():
            sha256.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            sha256.update(np.ascontiguousarray(array).data)
        return sha256.hexdigest()
