"""How far an experiment is: cells by status, the share of steps, and how long the rest may take."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from db import commands, costs, queue
from db.experiments.status import ENDED, CellStatus, ExperimentStatus, status_of
from db.experiments.studies import unchosen
from db.experiments.tables import Cell, Experiment, ExperimentArm
from db.tables import Job


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far it is."""

    status: ExperimentStatus
    #: How many there are of each status; the others are left out.
    cells: Mapping[CellStatus, int]
    #: All of them: of a search also those that are not yet chosen.
    total: int
    reused: int
    #: Share of all optimizer steps that is done, or that an ended run did not make.
    share: float
    #: Until all have ended, at the pace of those that have; none where nobody can say, and once all have.
    eta_seconds: float | None
    #: When the last job ended, or a reused one was taken, once all have ended.
    finished_at: datetime | None

    @property
    def ended(self) -> int:
        """Cells that do not change by themselves any more."""
        return sum(count for status, count in self.cells.items() if status in ENDED)


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Cells of one arm and one status."""

    arm: int
    status: CellStatus
    count: int
    reused: int
    #: Of one cell, and of the jobs of all of them.
    steps: int
    made: int
    #: What a cell may take on a small CPU, and what the jobs of all of them have taken.
    estimate: float
    seconds: float

    @property
    def left(self) -> int:
        """Steps that are still to be made."""
        return 0 if self.status in ENDED else self.count * self.steps - self.made

    @property
    def estimate_left(self) -> float:
        """What these may take on a small CPU."""
        return self.left / self.steps * self.estimate

    @property
    def estimate_made(self) -> float:
        """What the steps that were made should have taken there."""
        return self.made / self.steps * self.estimate


def cell_status() -> ColumnElement[str]:
    """How far a cell is, of cells that are joined with their jobs."""
    is_waiting, has_no_job = Cell.launched_at.is_(None), Cell.job_id.is_(None)
    return case(
        (Cell.refusal.is_not(None), CellStatus.REFUSED.value),
        # Its job is to be tried again; one that is still stopping, or is paused, tells more.
        (is_waiting & (has_no_job | Job.status.in_(commands.RETRYABLE)), CellStatus.WAITING.value),
        (has_no_job, CellStatus.DELETED.value),
        else_=sa.type_coerce(Job.status, sa.String),
    )


def status(session: Session, experiment: Experiment) -> ExperimentStatus:
    """How far the experiment is, in a word."""
    return status_of(
        experiment.wanted, _counts(_groups(session, experiment)), is_searching=unchosen(session, experiment) > 0
    )


def size(session: Session, experiment: Experiment) -> int:
    """All cells: of a search also those that are not yet chosen."""
    count = session.scalar(select(func.count()).where(Cell.experiment_id == experiment.id))
    return (count or 0) + unchosen(session, experiment)


def progress(session: Session, experiment: Experiment) -> Progress:
    """How far the experiment is."""
    groups, more = _groups(session, experiment), unchosen(session, experiment)
    cells = _counts(groups)
    found = status_of(experiment.wanted, cells, is_searching=more > 0)
    has_ended = found in (ExperimentStatus.COMPLETED, ExperimentStatus.CANCELLED)
    count = sum(cells.values())
    mean_steps = sum(group.count * group.steps for group in groups) / max(1, count)
    all_steps = mean_steps * (count + more)
    left = sum(group.left for group in groups) + more * mean_steps
    return Progress(
        status=found,
        cells=cells,
        total=count + more,
        reused=sum(group.reused for group in groups),
        share=1 - left / all_steps if all_steps else 0.0,
        eta_seconds=None if has_ended else _eta(session, experiment, groups, 1 + more / max(1, count)),
        finished_at=_last_end(session, experiment) if has_ended else None,
    )


def _groups(session: Session, experiment: Experiment) -> list[_Group]:
    state = cell_status().label("state")
    query = (
        select(
            Cell.arm,
            state,
            func.count(),
            func.sum(case((Cell.is_reused, 1), else_=0)),
            func.coalesce(func.sum(Job.step), 0),
            func.coalesce(func.sum(Job.spent_seconds), 0.0),
        )
        .select_from(Cell)
        .outerjoin(Job, Job.id == Cell.job_id)
        .where(Cell.experiment_id == experiment.id)
        .group_by(Cell.arm, state)
    )
    arms = _arms(session, experiment)
    return [
        _Group(
            arm=arm,
            status=CellStatus(found),
            count=count,
            reused=reused,
            steps=arms[arm][0],
            # Postgres adds up whole numbers to decimals.
            made=int(made),
            estimate=arms[arm][1],
            seconds=seconds,
        )
        for arm, found, count, reused, made, seconds in session.execute(query)
    ]


def _arms(session: Session, experiment: Experiment) -> dict[int, tuple[int, float]]:
    """Of each arm the steps of a cell, and what it may take."""
    steps = ExperimentArm.resolved["steps"].as_integer()
    query = select(ExperimentArm.number, steps, ExperimentArm.estimated_seconds)
    found = session.execute(query.where(ExperimentArm.experiment_id == experiment.id))
    return {number: (length, seconds) for number, length, seconds in found}


def _counts(groups: Sequence[_Group]) -> Counter[CellStatus]:
    counts: Counter[CellStatus] = Counter()
    for group in groups:
        counts[group.status] += group.count
    return counts


def _eta(session: Session, experiment: Experiment, groups: Sequence[_Group], factor: float) -> float | None:
    slots = queue.counts(session).slots
    parallel = min(slots, experiment.declaration["max_parallel"] or slots)
    if not parallel:
        return None
    ended = [group for group in groups if group.status is CellStatus.SUCCEEDED and group.made]
    of_all = _slowness(ended) or costs.slowness(session)
    by_arm = {group.arm: _slowness([group]) or of_all for group in ended}
    needed = sum(group.estimate_left * by_arm.get(group.arm, of_all) for group in groups)
    return factor * needed / parallel


def _slowness(ended: Sequence[_Group]) -> float | None:
    """How much longer than estimated these took; None where there are none."""
    estimated = sum(group.estimate_made for group in ended)
    return sum(group.seconds for group in ended) / estimated if estimated else None


def _last_end(session: Session, experiment: Experiment) -> datetime | None:
    # A job that is reused may have ended before the experiment was there.
    query = select(func.max(Job.finished_at), func.max(Cell.launched_at)).join(Cell, Cell.job_id == Job.id)
    ends = session.execute(query.where(Cell.experiment_id == experiment.id)).one()
    return max(filter(None, ends), default=None)
