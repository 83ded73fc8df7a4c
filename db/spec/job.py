"""The job spec: what a client posts and what a worker reads back."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from db.spec import rules
from db.spec.architectures.union import Architecture
from db.spec.averaging import Ema
from db.spec.base import Count, Part
from db.spec.dataset import Dataset
from db.spec.early_stopping import EarlyStopping, check_early_stopping, with_metric
from db.spec.errors import spec_error
from db.spec.norms.other import NoNorm
from db.spec.norms.union import Norm
from db.spec.objective import LOSSES, Loss
from db.spec.optimizer import SGD, Optimizer
from db.spec.probes import Probe, check_probes
from db.spec.recording import Checkpoint, Evaluate, Record, Statistics
from db.spec.schedulers.union import Scheduler
from models.blueprint import Blueprint
from models.shapes import sites

#: The longest job, in steps and in time: ten years.
MAX_STEPS = 10**9
MAX_RUNTIME_SECONDS = 10 * 365 * 86_400

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,62}$")]
LabelValue = Annotated[str, StringConstraints(max_length=200)]


class JobSpec(Part):
    """One training job. Exactly one of `steps` and `epochs` is given."""

    name: Name | None = None
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=64)] = Field(default_factory=dict)
    task: Literal["classification", "regression"] | None = None
    """Null for what the data set is for."""
    dataset: Dataset
    architecture: Architecture
    norm: Norm = NoNorm()
    loss: Loss = Loss()
    optimizer: Optimizer = SGD()
    scheduler: Scheduler | None = None
    """Of the learning rate; null for a constant one."""
    ema: Ema | None = None
    """Averaged weights, evaluated as ema/...; null for none."""
    batch_size: Count
    steps: Annotated[int, Field(strict=True, ge=1, le=MAX_STEPS)] | None = None
    """Optimizer steps."""
    epochs: Count | None = None
    """Passes over the training data, in whole steps: up to accumulate - 1 batches at the end are left out."""
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the forward and backward passes, by autocast; weights, statistics and evaluation stay float32. With
    float16 the loss is scaled, and a step whose gradients overflow is skipped (`torch.amp.GradScaler`)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    record: Record = Record()
    evaluate: Evaluate = Evaluate()
    statistics: Statistics = Statistics()
    probes: Annotated[tuple[Probe, ...], Field(max_length=8)] = ()
    checkpoint: Checkpoint = Checkpoint()
    early_stopping: EarlyStopping | None = None
    """Null for training to the last step."""
    max_runtime_seconds: Annotated[int, Field(strict=True, ge=1, le=MAX_RUNTIME_SECONDS)] = 86_400
    """Of all attempts of the job together; beyond it the job fails."""
    export: tuple[Literal["safetensors"], ...] = ("safetensors",)

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        task = self.dataset.info.task
        if self.task not in (None, task):
            message = f"Data set '{self.dataset.name}' is for {task}. Leave task out, or take another data set."
            raise spec_error("task_not_taken", "/task", message, allowed=[task.value])
        if self.loss.name not in ("auto", LOSSES[task]):
            raise spec_error(
                "loss_not_taken",
                "/loss/name",
                f"The loss of {task} is '{LOSSES[task]}'. Leave the name out, or take another data set.",
                allowed=["auto", LOSSES[task]],
            )
        return self

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            given = "both" if self.steps is not None else "neither"
            raise spec_error(
                "exactly_one",
                "/steps",
                f"Give exactly one of steps and epochs; this spec has {given}.",
                allowed=["steps", "epochs"],
            )
        return self

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        available = self.dataset.train_samples
        if self.batch_size > available:
            raise spec_error(
                "batch_too_large",
                "/batch_size",
                f"The batch is larger than the training data of {available} samples.",
                allowed=f"1 to {available}",
            )
        return self

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        wanted, classes = self.dataset.classes_per_batch, self.dataset.info.classes or 0
        if wanted is not None and self.batch_size % wanted:
            raise spec_error(
                "classes_do_not_divide",
                "/dataset/classes_per_batch",
                f"A batch has as many samples of each of its classes, and {self.batch_size} samples do not divide "
                f"by {wanted}.",
                allowed=[number for number in range(1, classes + 1) if self.batch_size % number == 0],
            )
        return self

    @model_validator(mode="after")
    def _check_epochs(self) -> Self:
        if self.epochs is not None and self.epochs * self.batches_per_epoch() > MAX_STEPS:
            most = MAX_STEPS // self.batches_per_epoch()
            message = f"So many epochs are more than {MAX_STEPS} batches."
            raise spec_error("too_long", "/epochs", message, allowed=f"1 to {most}")
        return self

    @model_validator(mode="after")
    def _check_whole_step(self) -> Self:
        batches = (self.epochs or 0) * self.batches_per_epoch()
        if 0 < batches < self.optimizer.accumulate:
            raise spec_error(
                "too_short",
                "/optimizer/accumulate",
                f"One step takes {self.optimizer.accumulate} batches, and so many epochs have {batches}. "
                "Accumulate fewer, or train for more epochs.",
                allowed=f"1 to {batches}",
            )
        return self

    @model_validator(mode="after")
    def _check_scheduler(self) -> Self:
        if self.scheduler is not None:
            self.scheduler.check(self.optimizer, self.total_steps())
        return self

    @model_validator(mode="after")
    def _check_network(self) -> Self:
        rules.check_norm(self)
        rules.check_sites(self, rules.check_shapes(self))
        return self

    @model_validator(mode="after")
    def _check_probes(self) -> Self:
        check_probes(self.probes, self.blueprint())
        return self

    @model_validator(mode="after")
    def _check_units(self) -> Self:
        if self.statistics.units == "last":
            return self
        known = {site.name: site for site in sites(self.blueprint())}
        for name, units in self.statistics.units.items():
            if name not in known:
                raise spec_error(
                    "unknown_site",
                    f"/statistics/units/{name}",
                    "The network has no such site.",
                    allowed=list(known),
                    given=name,
                )
            channels = known[name].channels
            if any(unit >= channels for unit in units):
                raise spec_error(
                    "unknown_unit",
                    f"/statistics/units/{name}",
                    f"Site {name} has {channels} channels.",
                    allowed=f"0 to {channels - 1}",
                )
        return self

    @model_validator(mode="after")
    def _check_early_stopping(self) -> Self:
        check_early_stopping(self)
        return self

    def blueprint(self) -> Blueprint:
        """The network that the spec describes."""
        info = self.dataset.info
        updates = self.total_steps() * self.optimizer.accumulate
        return self.architecture.blueprint(info.shape, info.outputs, self.norm.choice(updates))

    def total_steps(self) -> int:
        """Optimizer steps of the whole job; epochs are rounded down to whole ones."""
        batches = (self.epochs or 0) * self.batches_per_epoch()
        return self.steps or batches // self.optimizer.accumulate

    def batches_per_epoch(self) -> int:
        """Batches of one pass: a ragged last one counts, a single sample joins the batch before it."""
        full, rest = divmod(self.dataset.train_samples, self.batch_size)
        return max(1, full + (rest > 1 or (rest == 1 and full == 0)))

    def resolved(self) -> Self:
        """The spec with every default filled in and its length in steps; itself a valid spec."""
        steps, task = self.total_steps(), self.dataset.info.task
        every = self.evaluate.every or max(1, steps // 10)
        return self.model_copy(
            update={
                "task": task.value,
                "loss": self.loss.model_copy(update={"name": LOSSES[task]}),
                "steps": steps,
                "epochs": None,
                "evaluate": self.evaluate.model_copy(update={"every": every}),
                "early_stopping": with_metric(self),
            }
        )

    def to_json(self) -> dict[str, Any]:
        """The spec as plain JSON values."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """sha256 over the canonical JSON of the resolved spec, without name and labels."""
        values = self.resolved().to_json()
        del values["name"], values["labels"]
        return canonical_digest(values)


def canonical_digest(values: Mapping[str, Any]) -> str:
    """sha256 over the canonical JSON of some values, in hex."""
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def units_to_record(spec: JobSpec) -> dict[str, tuple[int, ...]]:
    """The channels of each site whose percentiles the job records."""
    if spec.statistics.units != "last":
        return dict(spec.statistics.units)
    found = sites(spec.blueprint())
    # The names of the last site: a network whose norms are its weights' has none.
    return {site.name: tuple(range(min(3, site.channels))) for site in found[-1:]}
