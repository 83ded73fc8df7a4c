"""Experiments as clients see them."""

from typing import Any, Self

from api.schemas.base import Out, Timestamp
from db.experiments.progress import Progress
from db.experiments.reading import CellLine
from db.experiments.status import CellStatus, ExperimentStatus
from db.experiments.tables import Experiment
from db.spec.selection import Selection
from db.status import FailureCode


class CountsOut(Out):
    """Cells of the declaration: of its arms and axes as they were last posted, with all of its seeds."""

    declared: int
    """Of the whole product of arms, axes and seeds (and trials of a search)."""
    excluded: int
    """Of those, left out by `exclude`."""
    equal: int
    """Of those, equal to another one: they are run once."""


class ExperimentProgressOut(Out):
    """How far an experiment is."""

    cells: dict[CellStatus, int]
    """How many cells there are of each status; the others are left out."""
    total: int
    """All cells; of a search also those that are not yet chosen."""
    ended: int
    """Cells that do not change by themselves any more."""
    reused: int
    """Cells whose job was there before."""
    share: float
    """Of all optimizer steps, those that are made or will never be; 0 to 1."""
    eta_seconds: float | None
    """Until all have ended, at the pace of those that have. Null where nobody can say, and once all have."""


class ExperimentOut(Out):
    """One experiment."""

    id: str
    """`exp_...`."""
    name: str
    """By which it is found again; made up if none was given."""
    status: ExperimentStatus
    """`running` while cells wait, are queued or run; `completed` once every cell has ended, in whichever way."""
    declaration: dict[str, Any]
    """As it was last posted, with all that a preset says and its defaults. What that left out is as it was before,
    and `seeds` and the trials of a search are all that were ever asked for."""
    counts: CountsOut
    """What became of the declared cells."""
    progress: ExperimentProgressOut
    """How far it is."""
    created_at: Timestamp
    """When it was first posted."""
    finished_at: Timestamp | None
    """When the last job ended, or a reused one was taken, once all have; null before."""
    created: bool | None = None
    """In the answer to a submission: false if the experiment was there already."""
    added: int | None = None
    """In the answer to a submission: the cells that it lacked, and those of cancelled and deleted jobs."""
    retried: int | None = None
    """In the answer to `retry-failed`: the cells that had ended and are run again. 0 with 202 where others, that
    waited, go on; 0 with 200 where there was nothing to do."""

    @classmethod
    def of(cls, experiment: Experiment, found: Progress) -> Self:
        """What a client sees of a row and its cells."""
        return cls(
            id=experiment.id,
            name=experiment.name,
            status=found.status,
            declaration=experiment.declaration,
            counts=CountsOut.model_validate(experiment),
            progress=ExperimentProgressOut.model_validate(found),
            created_at=experiment.created_at,
            finished_at=found.finished_at,
        )


class ExperimentPage(Out):
    """One page of experiments, the newest first."""

    data: list[ExperimentOut]
    """The experiments, the newest first."""
    next_cursor: str | None
    """For `cursor`, to read on; null on the last page."""


class CellOut(Out):
    """An arm with a seed, and the job that it became."""

    cell_id: str
    """Hash of the resolved spec with its seed: the `spec_hash` of its job."""
    number: int
    """From 0; cells become jobs in this order."""
    status: CellStatus
    """That of its job; `waiting` where it has none yet, `deleted` where it has none any more."""
    job: str | None
    """`job_...`."""
    reused: bool
    """The job was there before, made for another experiment or by hand."""
    arm: int
    """Number of its arm in the report."""
    arm_name: str
    """What was chosen, in short."""
    coordinates: dict[str, Any]
    """What was chosen, by dotted path of the spec; `arm` for a named arm."""
    seed: int
    """Of the job."""
    trial: int | None
    """Of a search: the number of the trial that chose the arm, from 0."""
    failure: FailureCode | None
    """Why its job failed, `diverged` say; null unless it has. The job has the message and a hint."""
    reason: str | None
    """Why its job is in this status, as its own `reason`; null where it has no job."""
    refusal: str | None
    """Why no job could be made of it."""
    value: Any
    """The newest value of the metric by which arms are compared; null before the first evaluation."""

    @classmethod
    def of(cls, line: CellLine, selection: Selection) -> Self:
        """What a client sees of a cell."""
        latest = line.job.latest if line.job is not None else {}
        return cls(
            cell_id=line.cell.cell_id,
            number=line.cell.number,
            status=line.status,
            job=line.cell.job_id,
            reused=line.cell.is_reused,
            arm=line.cell.arm,
            arm_name=line.arm.name,
            coordinates=line.arm.coordinates,
            seed=line.cell.seed,
            trial=line.arm.trial,
            failure=line.job.failure_code if line.job is not None else None,
            reason=line.job.reason if line.job is not None else None,
            refusal=line.cell.refusal,
            value=latest.get(selection.metric, {}).get("value"),
        )


class CellPage(Out):
    """One page of cells."""

    metric: str
    """What `value` is of."""
    data: list[CellOut]
    """The cells in their order."""
    next_cursor: str | None
    """For `cursor`, to read on; null on the last page."""
