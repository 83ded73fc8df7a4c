"""By which metric a job selects: when it stops early, and which of its checkpoints are the best."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from db.datasets import Task
from models.memory import LARGE_BATCH, eval_batch
from models.shapes import largest_output

if TYPE_CHECKING:
    from db.spec.job import JobSpec

#: What an evaluation measures in each pass; the first is what a job selects by.
MEASURES: dict[Task, tuple[str, ...]] = {
    Task.CLASSIFICATION: ("accuracy", "loss"),
    Task.REGRESSION: ("rmse", "r2", "loss"),
}
#: Measures of which more is better; of the others less is.
GREATER_IS_BETTER = frozenset({"accuracy", "r2"})


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A metric to select by."""

    metric: str
    greater_is_better: bool

    @property
    def is_on_test(self) -> bool:
        """Whether test data select, which are then no longer unseen."""
        return self.metric.removeprefix("ema/").startswith("test/")


def selection_metric(spec: "JobSpec") -> Selection:
    """What the job selects by: on its validation part, or without one on its test data."""
    part = "validation" if spec.dataset.validation_samples else "test"
    return selection_of(f"{part}/{MEASURES[spec.dataset.info.task][0]}")


def stopping_metric(spec: "JobSpec") -> Selection | None:
    """What early stopping watches; None of a job that does not stop early."""
    if spec.early_stopping is None:
        return None
    named = spec.early_stopping.metric
    return selection_metric(spec) if named is None else selection_of(named)


def evaluated_metrics(spec: "JobSpec") -> tuple[str, ...]:
    """The names of all metrics that an evaluation of the job gives, as `worker.evaluate` measures them."""
    parts = ["validation", "test"] if spec.dataset.validation_samples else ["test"]
    passes = parts + [name for mode in spec.evaluate.modes for name in _passes(spec, mode)]
    if spec.ema is not None:
        passes += [f"ema/{name}" for name in passes if not name.startswith("gap/train_mode")]
    measures = MEASURES[spec.dataset.info.task]
    return tuple(dict.fromkeys(f"{name}/{measure}" for name in passes for measure in measures))


def _passes(spec: "JobSpec", mode: str) -> tuple[str, ...]:
    large = ("gap/train_mode_large",) if _holds_a_large_batch(spec) else ()
    return {
        "eval": ("gap/eval_mode",),
        "train": ("gap/train_mode", *large),
        "precise": ("gap/precise", "test/precise"),
    }[mode]


def _holds_a_large_batch(spec: "JobSpec") -> bool:
    """Whether the training subset, and the memory of an evaluation, have room for one."""
    subset = min(max(spec.evaluate.train_samples, spec.batch_size), spec.dataset.train_samples)
    return min(subset, eval_batch(largest_output(spec.blueprint()))) >= LARGE_BATCH


def selection_of(metric: str) -> Selection:
    """To select by a metric, in the direction in which it is better."""
    return Selection(metric=metric, greater_is_better=metric.rpartition("/")[2] in GREATER_IS_BETTER)
