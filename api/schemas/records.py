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


class DriftOut(BaseModel):
    """How far stored statistics are from the population's, of each channel.

    `delta` = |mean_stored - mean| / sigma, `rho` = ln(var_stored / var), `kl` = (e^rho + delta^2 - 1 - rho) / 2.
    """

    delta: Moment | None = None
    rho: Moment | None = None
    kl: Moment | None = None


class NoiseOut(BaseModel):
    """How much a batch's mean varies, in standard deviations of the population.

    `effective_batch` = 1 / `mean`^2 is the size of a batch of independent values with this noise.
    """

    mean: Moment
    effective_batch: Moment


class AffineOut(BaseModel):
    """Scale and shift of each channel."""

    gamma: Moment | None = None
    beta: Moment | None = None


class LayerOut(BaseModel):
    """The linear layer or convolution before a site: a number for each step, before the optimizer moves it.

    Lengths (2-norms) of its weight and of the weight's gradient, and lr / |weight|^2.
    """

    name: str | None = None
    weight_norm: list[Number] | None = None
    gradient_norm: list[Number] | None = None
    effective_lr: list[Number] | None = None


class ActivationOut(BaseModel):
    """The activation beside a site: of each channel, the share of the batch's values that pass nothing on.

    `zero` of a ReLU, `saturated` of a sigmoid (below 0.01 or above 0.99) or tanh. `dead`, with the summary: the
    share of channels that are 0 in the whole batch.
    """

    name: str | None = None
    zero: Moment | None = None
    saturated: Moment | None = None
    dead: list[Number] | None = None


class PopulationNoiseOut(BaseModel):
    """Noise of a batch's mean with frozen weights, over batches as the job draws them and over shuffled ones."""

    job: Moment | None = None
    shuffled: Moment | None = None


class ShiftOut(BaseModel):
    """The norm's input on test data against the training subset, as `DriftOut` has it."""

    delta: Moment | None = None
    rho: Moment | None = None


class PopulationNumbers(BaseModel):
    """What evaluations found, with frozen weights.

    The population statistics as they would be stored; `drift` of the running averages from them; `ema`: the same
    of the averaged model and its own population.
    """

    mean: Moment | None = None
    var: Moment | None = None
    std: Moment | None = None
    scale: Moment | None = None
    drift: DriftOut | None = None
    noise: PopulationNoiseOut | None = None
    test: ShiftOut | None = None
    ema: DriftOut | None = None


class PopulationOut(PopulationNumbers):
    """By evaluation; `count`, `min` and `max` as in a down-sampled `SiteOut`."""

    step: list[int]
    count: list[int] | None = None
    min: PopulationNumbers | None = None
    max: PopulationNumbers | None = None


class SiteNumbers(BaseModel):
    """What one site's norm did in recorded steps.

    `train` has what the norm computed of the mini-batch (biased variance: what normalizes; a norm that treats
    each sample by itself: the mean over the samples), `eval` the running ones as stored, null for a site without
    any; `drift` is that of the stored ones from the last 16 batches, `noise` that of these batches; `percentiles`
    are those of the norm's output, for `units`, a row for each step.
    """

    train: MomentsOut | None = None
    eval: MomentsOut | None = None
    drift: DriftOut | None = None
    noise: NoiseOut | None = None
    affine: AffineOut | None = None
    layer: LayerOut | None = None
    activation: ActivationOut | None = None
    percentiles: dict[str, list[list[Number]]] | None = None


class SiteOut(SiteNumbers):
    """One site.

    `moments` says how many numbers of each kind there are: one for each channel, for each group of channels, or
    one. Down-sampled, the numbers are means over `count` steps each, `min` and `max` the least and the greatest of
    them.
    """

    norm: str
    channels: int
    moments: int
    time_step: list[int] | None = None
    units: list[int]
    step: list[int]
    population: PopulationOut | None = None
    count: list[int] | None = None
    min: SiteNumbers | None = None
    max: SiteNumbers | None = None


class StatisticsOut(BaseModel):
    """Records by site. Read on with `after=cursor`, at once if there is `more`."""

    sites: dict[str, SiteOut]
    cursor: str
    more: bool
    downsampled: bool
    rewound_to: int | None = None
