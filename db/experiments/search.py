"""A search for good values between limits, in place of a grid of them."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag, model_validator
from pydantic_core import PydanticCustomError

from db.experiments.paths import Path
from db.spec.base import LARGEST, Flag, Part
from db.spec.errors import spec_error

Finite = Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST)]
#: Fields that take whole numbers only.
WHOLE = frozenset({"batch_size", "steps", "epochs"})


class Range(Part):
    """Numbers between two limits, both of them included."""

    low: Finite
    """The smallest."""
    high: Finite
    """The largest."""
    log: Flag = False
    """Evenly spread by their logarithms."""
    integer: Flag = False
    """Whole numbers only."""

    def places(self) -> dict[str, Any]:
        """The limits, each by its place."""
        as_given: type = int if self.integer else float
        return {"low": as_given(self.low), "high": as_given(self.high)}


class Choices(Part):
    """Some values, whole parts among them."""

    choices: Annotated[tuple[Any, ...], Field(min_length=2, max_length=100)]
    """Each of them."""

    def places(self) -> dict[str, Any]:
        """Each of them by its place."""
        return {f"choices/{number}": choice for number, choice in enumerate(self.choices)}


def _is_object(given: Any) -> Any:
    if not isinstance(given, (dict, Part)):
        message = (
            'Limits or choices are wanted here: {"low": 0.001, "high": 1.0, "log": true} or {"choices": [...]}.'
        )
        raise PydanticCustomError("no_range", "{message}", {"message": message})
    return given


def _kind(given: Any) -> str:
    """Which of the two is meant."""
    has_choices = "choices" in given if isinstance(given, dict) else isinstance(given, Choices)
    return "Choices" if has_choices else "Range"


Values = Annotated[
    Annotated[Range, Tag("Range")] | Annotated[Choices, Tag("Choices")],
    Discriminator(_kind),
    BeforeValidator(_is_object),
]


class Search(Part):
    """Values that are chosen one after the other, by what came of those before.

    Akiba et al. 2019 (arXiv 1907.10902). Each arm has a study of its own, so that the best of one is compared with
    the best of another.
    """

    name: Literal["optuna"]
    """The library that chooses."""
    trials: Annotated[int, Field(strict=True, ge=1, le=10_000)]
    """Settings that are tried in each arm, each with every seed."""
    space: Annotated[dict[Path, Values], Field(min_length=1, max_length=16)]
    """Where to look, by dotted path of the spec."""
    sampler: Literal["TPESampler", "RandomSampler"] = "TPESampler"
    """`optuna.samplers`: tree-structured Parzen estimator (Bergstra et al. 2011), or at random."""
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)] = 0
    """Of the sampler."""
    metric: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """What is to be made better: its value at the end of a run, the median over seeds. Null for the target's
    metric, or else the one by which the jobs select."""

    @model_validator(mode="after")
    def _check_space(self) -> Self:
        for path, values in self.space.items():
            if isinstance(values, Range):
                _check_range(f"/search/space/{path}", path, values)
        return self

    def first_values(self) -> dict[str, Any]:
        """A value for each path, to see whether the rest of a spec is valid."""
        return {path: next(iter(values.places().values())) for path, values in self.space.items()}

    def each_value(self) -> Iterator[tuple[str, str, Any]]:
        """Every choice and limit: its path, its place below the path, and itself."""
        for path, values in self.space.items():
            for place, value in values.places().items():
                yield path, place, value


def _check_range(pointer: str, path: str, values: Range) -> None:
    if values.high <= values.low:
        message = "The largest value must be larger than the smallest."
        raise spec_error("not_in_order", f"{pointer}/high", message, allowed=f"more than {values.low:g}")
    if values.log and values.low <= 0:
        message = "A logarithmic range begins above 0."
        raise spec_error("not_positive", f"{pointer}/low", message, allowed="more than 0")
    if values.integer and not (values.low.is_integer() and values.high.is_integer()):
        raise spec_error("not_integer", pointer, "The limits of whole numbers are whole numbers.")
    if path in WHOLE and not values.integer:
        raise spec_error("not_integer", f"{pointer}/integer", "Only whole numbers are taken here.", allowed=[True])
