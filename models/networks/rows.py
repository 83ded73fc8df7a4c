"""Samples as sequences."""

from math import prod

from models.kinds.base import Named
from models.kinds.sequences import Rows


def as_sequence(input_shape: tuple[int, ...]) -> tuple[Named, int, int]:
    """The layers that make a sequence of a sample, its steps, and the features of each step.

    A sequence, (T, F), is taken as it is, an image, (C, H, W), row by row. What is neither is refused by its
    shape at the first layer.
    """
    match input_shape:
        case (steps, features):
            return (), steps, features
        case (channels, height, width):
            return (("rows", Rows()),), height, channels * width
        case _:
            return (("rows", Rows()),), 1, prod(input_shape)
