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
    """A moment at each recorded step, over all channels of the site; in a recurrent layer, of each time step."""

    mean: list[Number] | list[list[Number]]
    min: list[Number] | list[list[Number]]
    max: list[Number] | list[list[Number]]


#: A moment over the channels, or a row of chosen channels for each step (and time step).
Moment = OverChannels | list[list[Number]] | list[list[list[Number]]]


class MomentsOut(BaseModel):
    """What a norm computes or keeps, at each recorded step: mean and variance, or a scale."""

    mean: Moment | None = None
    var: Moment | None = None
    std: Moment | None = None
    """Of batch renormalization, which keeps the standard deviation."""
    scale: Moment | None = None
    """Of norms that divide by something else: a root mean square, a mean absolute value."""


class SiteOut(BaseModel):
    """What one site's norm did.

    `train` has what the norm computed of the mini-batch (biased variance: what normalizes; a norm that treats
    each sample by itself: the mean over the samples), `eval` the running ones as stored, null for a site without
    any; `percentiles` those of the norm's output, for `units`, a row for each step. `moments` says how many
    numbers of each kind there are: one for each channel, for each group of channels, or one.
    """

    norm: str
    channels: int
    moments: int
    time_step: list[int] | None = None
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
