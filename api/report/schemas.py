"""A report as clients see it. Every number is finite; null stands where there is none."""

from typing import Any

from api.schemas.base import Out, Timestamp
from api.schemas.experiments import ExperimentProgressOut
from db.experiments.status import CellStatus, ExperimentStatus
from db.spec.lints.base import Severity


class IntervalOut(Out):
    """A 95 % confidence interval: percentile bootstrap over seeds."""

    low: float | None
    """Null where the data set no lower limit."""
    high: float | None
    """Null where the data set no upper limit: in too many resamples too few runs reached the target."""


class Spread(Out):
    """A number over the seeds of an arm: of those runs whose number is finite."""

    n: int
    """Runs that have it."""
    not_finite: int
    """Runs left out because their number is NaN or infinite."""
    median: float
    """The middle one; the mean of the middle two."""
    q25: float
    """A quarter of the runs is below; interpolated linearly."""
    q75: float
    """A quarter of the runs is above; interpolated linearly."""
    min: float
    """The least."""
    max: float
    """The greatest."""
    ci: IntervalOut | None
    """Of the median; null for one run."""


class StepsToTarget(Out):
    """Optimizer steps until the target metric was first as good as the target, over the runs that have begun.

    Runs that did not get there are right-censored, and the median is Kaplan and Meier's: the first step by which
    half of the runs have reached it.
    """

    n: int
    """Runs that have begun: reached and censored together."""
    reached: int
    """Runs that reached it."""
    censored: int
    """Runs that did not, each up to its last step; one that diverged never would, and has its full length."""
    diverged: int
    """Those among the censored that diverged."""
    at_first: int
    """Runs that were there at their first evaluation: they may have been there at any step before."""
    median: float | None
    """Null where fewer than half have reached it."""
    median_at_first: bool
    """Whether the median rests on runs `at_first`: it is then an upper bound; the interval has no lower limit."""
    at_least: float | None
    """What the median is no less than, where it is null."""
    ci: IntervalOut | None
    """Of the median; null where it is null, and for one run."""


class Divergence(Out):
    """How many runs ended because their loss was no longer finite."""

    count: int
    """Runs that diverged."""
    ended: int
    """Runs that succeeded or diverged; cancelled ones, and other failures, say nothing about it."""
    rate: float | None
    """count / ended; null before one has ended."""


class FindingCount(Out):
    """What the diagnosis found in runs of the arm."""

    code: str
    """docs/diagnosis.md describes each."""
    severity: Severity
    """The worst among the runs."""
    runs: int
    """In how many."""


class Difference(Out):
    """Of the final selection metric, this arm's less the baseline's, over the runs that succeeded."""

    metric: str
    """What is compared."""
    median: float
    """Median of the differences by seed; the difference of the medians where seeds are not paired."""
    ci: IntervalOut | None
    """Of the median; null for one run."""
    n: int
    """Pairs of runs with the same seed; runs of the smaller arm where no seeds are the same."""
    paired: bool
    """Whether it is taken seed by seed."""


class Comparison(Out):
    """How many times fewer steps to the target an arm takes than the baseline: median steps, baseline / arm."""

    arm: int | None
    """Number of the arm that stands for this side; null where nothing is compared, and before both sides
    have begun."""
    learning_rate: float | None
    """Its learning rate."""
    tried: int | None
    """Learning rates that this side chose from, of arms that have begun. Null where nothing is compared."""
    baseline: int | None
    """Number of the arm on the baseline's side."""
    baseline_learning_rate: float | None
    """Its learning rate."""
    baseline_tried: int | None
    """Learning rates that the baseline's side chose from."""
    ratio: float | None
    """Above 1: fewer steps than the baseline. Null where one of the medians is not reached, or was already at the
    first evaluation."""
    at_least: float | None
    """What the ratio is no less than, where the baseline's median is not reached, or this arm's was at its first
    evaluation."""
    at_most: float | None
    """What the ratio is no more than, where this arm's median is not reached, or the baseline's was at its first
    evaluation."""
    ci: IntervalOut | None
    """Of the ratio, with both learning rates taken as given; null where it is null, and for one run."""
    paired: bool
    """Whether runs of the same seeds were drawn together for the interval."""
    difference: Difference | None
    """What is gained in the selection metric; null where no run of one side has succeeded."""
    reason: str | None
    """Why `ratio` is null."""


class SpeedUp(Out):
    """Two answers to two questions; the one says little about the other."""

    equal_lr: Comparison
    """Against the baseline at the arm's own learning rate, equal in all that the baseline leaves free."""
    best_lr: Comparison
    """The best learning rate of the arm's family against the best one of the baseline's. The arms of a family
    differ in nothing but the learning rate, and all have the same answer."""


class ArmOut(Out):
    """One setting over its seeds."""

    number: int
    """From 0, in the order of the declaration."""
    arm_id: str
    """sha256 of the resolved spec without its seed, in hex."""
    name: str
    """As declared, or made of what was chosen."""
    trial: int | None
    """Number of the trial of a search that chose the setting; null without a search."""
    is_baseline: bool
    """Whether the others are compared with it."""
    coordinates: dict[str, Any]
    """What was chosen on each dimension of the experiment."""
    config: dict[str, Any]
    """By dotted path: what is not the same in all arms. A part of another name is told in words."""
    cells: dict[CellStatus, int]
    """How many of its cells there are of each status; the others are left out."""
    reused: int
    """Cells whose job was made for another experiment, or by hand."""
    final: dict[str, Spread]
    """By metric, of the last evaluation: over the runs that succeeded. Diverged runs are not in it; `divergence`
    counts them."""
    best: dict[str, Spread]
    """By metric, the best value of each run: over the same runs as `final`."""
    selection_median: float | None
    """Median of the final selection metric in which diverged runs count as the worst; by it the best learning rate
    is chosen where none reaches the target. Null where that is a diverged run, or none has ended."""
    steps_to_target: StepsToTarget | None
    """Null without a target, and before a run has begun."""
    divergence: Divergence
    """How many of the runs diverged."""
    train_eval_gap: dict[str, Spread]
    """By measure: batch statistics less running statistics at the end, on the same training samples. Empty for a
    norm that does not use the batch: there is nothing that could differ."""
    precise_gap: dict[str, Spread]
    """By measure: population statistics measured anew less running statistics at the end, on the same samples.
    Empty for a norm that does not use the batch."""
    findings: list[FindingCount]
    """Of the diagnosis, the worst first."""
    seconds: Spread | None
    """What all attempts of a run took, over the runs that succeeded."""
    samples_per_second: Spread | None
    """Of training alone, over the runs that succeeded."""
    speed_up: SpeedUp
    """Against the baseline."""


class TargetOut(Out):
    """A value that a metric should reach."""

    metric: str
    """Its name."""
    value: float
    """As good as this, or better."""
    greater_is_better: bool
    """Whether more is better."""


class SelectionOut(Out):
    """By which metric the best is chosen."""

    metric: str
    """Its name."""
    greater_is_better: bool
    """Whether more is better."""
    selects_on_test: bool
    """Whether that is test data, which are then no longer unseen: what is chosen looks better than it is."""


class SearchOut(Out):
    """What a search found so far; its trials are arms."""

    name: str
    """Of the searcher, `optuna`."""
    sampler: str
    """By which it chooses settings."""
    trials: int
    """How many are asked for, in all declared arms together."""
    tried: int
    """Trials of which all cells have ended."""
    metric: str
    """What is made better: the selection metric, unless the search names another."""
    best_arm: int | None
    """Number of the arm whose median of it over seeds, diverged ones as the worst, is the best of those tried; the
    first of equals. Null where none of them has one."""
    best_value: float | None
    """That median: the `selection_median` of the arm where the metric is the same."""


class ProvenanceOut(Out):
    """Where the numbers come from."""

    seeds: list[int]
    """Of all runs."""
    ended: int
    """Runs that have ended and whose jobs are still there."""
    seconds: float
    """What those took, all together and one after another; reused ones too. Of runs in progress nothing."""
    finished_at: Timestamp | None
    """When the last job ended, once all have; null before, when the numbers may still change."""
    json_address: str
    """Address of this report as JSON."""
    csv_address: str
    """Address of this report as CSV."""


class Report(Out):
    """What an experiment came to so far."""

    id: str
    """`exp_...`."""
    name: str
    """As declared."""
    status: ExperimentStatus
    """Of the experiment."""
    summary: dict[str, Any] | None
    """Of a preset: its source, what was reported and what to expect."""
    target: TargetOut | None
    """Null if none was declared: then there are no steps to it, and no speed-ups."""
    selection: SelectionOut
    """What the best was chosen by."""
    search: SearchOut | None
    """Null without a search: then all arms are as declared."""
    progress: ExperimentProgressOut
    """How far it is."""
    provenance: ProvenanceOut
    """Where the numbers come from."""
    arms: list[ArmOut]
    """In the order of the declaration."""
    notes: list[str]
    """How to read the numbers of this report."""
