"""Depths that a network has, and the refusal of others."""

from collections.abc import Sequence

from pydantic_core import PydanticCustomError

from db.spec.errors import spec_error


def wrong_depth(depth: int, known: Sequence[int], rule: str) -> PydanticCustomError:
    """The error to raise for a depth that is none of those `known`; `rule` says which there are."""
    near = sorted(sorted(known, key=lambda other: abs(other - depth))[:5])
    message = f"There is no depth {depth}: {rule}. The nearest: {', '.join(map(str, near))}."
    return spec_error("unknown_depth", "/architecture/depth", message, allowed=near)
