"""Samples in a request's body, checked against the data set and turned into an array."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.problems import FieldError, ProblemError
from api.strict import are_numbers
from db.datasets import DatasetInfo
from db.spec.base import LARGEST

#: The names of a sample's axes.
AXES = ("channels", "rows", "values")
#: Wrong places that one answer names.
MOST_ERRORS = 50


def read_inputs(values: list[Any], info: DatasetInfo, pointer: str) -> NDArray[np.float32]:
    """(N, C, H, W) of raw values from nested lists that stand at `pointer` of the body.

    Raises:
        ProblemError: 422, where a list has another length than the data set's samples, or something is no number
            of the data set's range.
    """
    limits = (-LARGEST, LARGEST) if info.largest_value is None else (0.0, float(info.largest_value))
    found = (
        error
        for index, sample in enumerate(values)
        for error in _errors(sample, f"{pointer}/{index}", info.shape, AXES, limits)
    )
    errors = [error for error, _ in zip(found, range(MOST_ERRORS), strict=False)]
    if errors:
        detail = f"{errors[0].pointer}: {errors[0].message}"
        raise ProblemError(422, "invalid_inputs", "The inputs are not valid", detail, errors=errors)
    return np.asarray(values, dtype=np.float32)


def _errors(
    value: Any, pointer: str, shape: Sequence[int], axes: Sequence[str], limits: tuple[float, float]
) -> Iterator[FieldError]:
    low, high = limits
    if not shape:
        # A bool is an int to Python.
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            allowed = f"number, at least {low:g}, at most {high:g}"
            message = "This is no number of the data set's range."
            yield FieldError(pointer=pointer, code="not_in_range", message=message, allowed=allowed)
    elif not isinstance(value, list) or len(value) != shape[0]:
        allowed = f"array of {shape[0]} {axes[0]}"
        message = "The samples of the data set have another shape."
        yield FieldError(pointer=pointer, code="wrong_shape", message=message, allowed=allowed)
    elif len(shape) > 1 or not are_numbers(value, low, high):
        for index, inner in enumerate(value):
            yield from _errors(inner, f"{pointer}/{index}", shape[1:], axes[1:], limits)


def to_file(array: NDArray[np.float32]) -> bytes:
    """The array in numpy's own format, for `numpy.load` without pickles."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
