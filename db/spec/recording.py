"""What a job records, and when. Every interval is in optimizer steps."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from db.spec.base import Count, Flag, Part
from db.spec.errors import spec_error

Mode = Literal["eval", "train", "precise"]
Unit = Annotated[int, Field(strict=True, ge=0)]


class Record(Part):
    """The mini-batch's loss and scores: accuracy, or rmse and r2."""

    every: Count = 1


class Evaluate(Part):
    """Test and validation metrics, and the train-mode/eval-mode gap on a fixed training subset."""

    every: Count | None = None
    """Null for a tenth of the steps; the last step is always evaluated."""
    modes: tuple[Mode, ...] = ("eval", "train", "precise")
    train_samples: Annotated[int, Field(strict=True, ge=2, le=1_000_000)] = 2000
    """Size of the fixed training subset."""
    population: Literal["batch", "sequential"] = "batch"
    """How population statistics are estimated: in one pass with batch statistics, or layer by layer in eval mode,
    which is exact for every layer and takes a pass for each."""


class Statistics(Part):
    """Moments of every site, and percentiles of the output of some units."""

    every: Count = 100
    """The first and the last step are always recorded."""
    details: Flag = True
    """Record more than moments: drift and noise of the last batches, scale and shift, dead and saturated shares,
    lengths of weights and gradients, percentiles."""
    percentiles: Annotated[
        tuple[Annotated[float, Field(strict=True, ge=0, le=100)], ...], Field(max_length=16)
    ] = (15, 50, 85)
    units: Literal["last"] | dict[str, Annotated[tuple[Unit, ...], Field(max_length=1024)]] = "last"
    """`last` for three units of the last site, or the channels of each site: {"norm3": [0, 5, 9]}."""

    @model_validator(mode="after")
    def _check_distinct(self) -> Self:
        lists: dict[str, Sequence[object]] = {"percentiles": [f"{value:g}" for value in self.percentiles]}
        if self.units != "last":
            lists |= {f"units/{site}": channels for site, channels in self.units.items()}
        for place, values in lists.items():
            if len(set(values)) < len(values):
                pointer = f"/statistics/{place}"
                raise spec_error("not_distinct", pointer, "The values must differ from each other.")
        return self


class Checkpoint(Part):
    """Saved states; the last step is always saved."""

    every: Count = 5000
    """Optimizer steps from one to the next. One that is due while another waits to be written is left out."""
    keep_last: Annotated[int, Field(strict=True, ge=1, le=1000)] = 2
    """How many of the newest to keep."""
    keep_best: Annotated[int, Field(strict=True, ge=0, le=1000)] = 1
    """How many of the best to keep besides the newest; an evaluation that is the best so far is saved. What is
    best is said by accuracy, or rmse of a regression: on the validation part, or without one on the test data."""
