"""A job's numbers as clients see them. These describe the answers; the answers themselves are made as bytes."""

from pydantic import BaseModel

#: Numbers that are not finite are the words NaN, Infinity and -Infinity.
Number = float | str


class SeriesOut(BaseModel):
    """One series as columns; `min`, `max` and `count` belong to down-sampled ones, with `value` as the mean."""

    step: list[int]
    value: list[Number]
    min: list[Number] | None = None
    max: list[Number] | None = None
    count: list[int] | None = None


class MetricsOut(BaseModel):
    """Series by name. Read on with `after=cursor`, at once if there is `more`."""

    series: dict[str, SeriesOut]
    cursor: str
    more: bool
    downsampled: bool
    rewound_to: int | None = None
    """A newer attempt went back to this step: drop what lies beyond it."""


class OverChannels(BaseModel):
    """A moment at each recorded step, over all channels of the site."""

    mean: list[Number]
    min: list[Number]
    max: list[Number]


class MomentsOut(BaseModel):
    """Mean and variance at each recorded step: over the channels, or a row of chosen channels for each step."""

    mean: OverChannels | list[list[Number]]
    var: OverChannels | list[list[Number]]


class SiteOut(BaseModel):
    """What one site's norm did.

    `train` has the moments of the norm's input in the mini-batch (biased variance: what normalizes), `eval` the
    running ones as stored, null for a site without any; `percentiles` those of the norm's output, for `units`, a
    row for each step.
    """

    norm: str
    channels: int
    units: list[int]
    step: list[int]
    train: MomentsOut | None = None
    eval: MomentsOut | None = None
    percentiles: dict[str, list[list[Number]]] | None = None


class StatisticsOut(BaseModel):
    """Records by site. Read on with `after=cursor`, at once if there is `more`."""

    sites: dict[str, SiteOut]
    cursor: str
    more: bool
    downsampled: bool
    rewound_to: int | None = None
