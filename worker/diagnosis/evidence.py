"""What a diagnosis is made from: a job's spec and what it recorded last, however it was recorded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from db.lease import Failure
from db.spec.job import JobSpec
from db.spec.lints import averages
from models.catalog.names import NormName
from models.catalog.registry import norms
from models.shapes import Site, sites
from worker.diagnosis.findings import NotChecked

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SiteEvidence:
    """The last recorded rows of one site, and what the last evaluation found there.

    columns: name to (rows, values); evaluation: name to (values). The names are those of the statistics record.
    """

    site: Site
    steps: tuple[int, ...] = ()
    columns: Mapping[str, Floats] = field(default_factory=dict)
    evaluation: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.site.name

    def rows(self, name: str) -> Floats | None:
        """A column's last rows, of the later half of the steps: (rows, values).

        None where nothing of it is a number. Of a short job the last rows would be all: what it began with tells
        nothing of what it has become.
        """
        values = self.columns.get(name)
        if values is None or len(values) != len(self.steps):
            return _known(values)
        return _known(values[np.array(self.steps) > self.steps[-1] / 2])

    def newest(self, name: str) -> Floats | None:
        """A column's last row: (values)."""
        rows = self.columns.get(name)
        return None if rows is None or not len(rows) else _known(rows[-1])

    def evaluated(self, name: str) -> Floats | None:
        """What the last evaluation found: (values)."""
        return _known(self.evaluation.get(name))


def _known(values: Floats | None) -> Floats | None:
    # NaN alone is how the record says that something could not be measured.
    return None if values is None or not values.size or np.isnan(values).all() else values


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A job as far as it has come. `spec` is as posted; `step` counts optimizer steps."""

    spec: JobSpec
    step: int
    final: bool = False
    #: The value of each metric at its last step, and that step.
    metrics: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    #: Samples in the last recorded training batches, and the share of them that was classified rightly.
    train_batches: tuple[int, float] | None = None
    sites: tuple[SiteEvidence, ...] = ()
    failure: Failure | None = None

    @property
    def updates(self) -> int:
        """How often the running averages have moved."""
        return averages.updates(self.spec, self.step)

    @property
    def momentum(self) -> float | None:
        """Weight of the newest batch in the running averages; none where each weighs the same."""
        momentum: float | None = getattr(self.spec.norm, "momentum", None)
        return momentum

    @property
    def is_frozen(self) -> bool:
        """Whether norms normalize by stored statistics in train mode."""
        after = getattr(self.spec.norm, "freeze_after", None)
        return self.spec.norm.name == NormName.FROZEN_BATCH or (after is not None and self.step > after)

    @property
    def uses_batch(self) -> bool:
        """Whether norms normalize by batch statistics in train mode."""
        return norms()[self.spec.norm.name].uses_batch and not self.is_frozen

    @property
    def keeps_averages(self) -> bool:
        """Whether norms have running averages, moving or not."""
        has_momentum = hasattr(self.spec.norm, "momentum") and getattr(self.spec.norm, "track", True)
        return bool(has_momentum) or self.spec.norm.name == NormName.FROZEN_BATCH

    @cached_property
    def gap_samples(self) -> int:
        """Samples of the fixed training subset."""
        wanted = max(self.spec.evaluate.train_samples, self.spec.batch_size)
        return min(wanted, self.spec.dataset.train_samples)

    @cached_property
    def test_samples(self) -> int:
        """Test samples that the job is evaluated on."""
        return self.spec.dataset.test_samples

    def values(self, site: Site) -> int:
        """Values of each channel that are normalized together in train mode."""
        samples = min(self.spec.batch_size, getattr(self.spec.norm, "size", self.spec.batch_size))
        return samples * site.positions

    def metric(self, name: str) -> float:
        """The last value of a metric.

        Raises:
            NotChecked: there is none, or none that is a finite number.
        """
        if name not in self.metrics:
            raise NotChecked(f"There is no {name} yet; evaluations give it, in the modes of evaluate.modes.")
        _, value = self.metrics[name]
        if not np.isfinite(value):
            raise NotChecked(f"{name} is not a finite number.")
        return value

    def newest(self, name: str) -> Iterator[tuple[SiteEvidence, Floats]]:
        """The sites that have a column, with its last row."""
        return ((site, row) for site in self.sites if (row := site.newest(name)) is not None)

    def rows(self, name: str) -> Iterator[tuple[SiteEvidence, Floats]]:
        """The sites that have a column, with its last rows."""
        return ((site, rows) for site in self.sites if (rows := site.rows(name)) is not None)

    def evaluated(self, name: str) -> Iterator[tuple[SiteEvidence, Floats]]:
        """The sites where the last evaluation found something, with it."""
        return ((site, found) for site in self.sites if (found := site.evaluated(name)) is not None)


def sites_of(spec: JobSpec) -> list[Site]:
    """The sites of a spec's network."""
    return sites(spec.blueprint())
