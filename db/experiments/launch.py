"""Cells become jobs: no more at a time than the experiment may have, each once."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from db import commands, jobs
from db.base import now
from db.experiments.status import Wanted
from db.experiments.tables import Cell, Experiment, ExperimentArm, Study
from db.spec.job import JobSpec
from db.status import LIVE, FailureCode, Status
from db.tables import Job

#: Jobs of an experiment that are queued or running at a time, if it names no number: more than there are slots,
#: and few enough that the queue stays short. A search learns from what has ended.
WINDOW, SEARCH_WINDOW = 64, 4
#: Of a job's origin.
CELL = "cell"
#: Waiting cells that are looked at in one transaction: those that reuse a job take no room.
MOST_CELLS_AT_ONCE = 200

_OPEN = (Status.QUEUED, *LIVE)


def due(session: Session) -> list[str]:
    """Experiments that have something to launch, and room for it, or to stop; cheap enough to ask often."""
    waiting = select(Cell.cell_id).where(Cell.experiment_id == Experiment.id, *_is_launchable()).exists()
    searching = select(Study.number).where(Study.experiment_id == Experiment.id, ~Study.is_done).exists()
    to_launch = select(Experiment).where(Experiment.wanted == Wanted.RUN, waiting | searching)
    # A job that was pausing when its experiment was cancelled is paused by now.
    left = select(Cell.experiment_id).join(Job, Job.id == Cell.job_id).join(Experiment)
    to_cancel = left.where(Job.status == Status.PAUSED, Experiment.wanted == Wanted.CANCEL, ~Cell.is_reused)
    unfinished = session.scalars(to_launch.order_by(Experiment.id)).all()
    # Here, and not under the lock of a write, which others would wait for four times a second.
    with_room = [each.id for each in unfinished if room(session, each) > 0]
    return with_room + list(session.scalars(to_cancel.distinct()))


def _is_launchable() -> tuple[ColumnElement[bool], ...]:
    """The cell waits, and its job, if it has one, is not still stopping."""
    is_open = select(Job.id).where(Job.id == Cell.job_id, Job.status.in_(_OPEN)).exists()
    return Cell.launched_at.is_(None), ~is_open


def keep_jobs(session: Session, experiment: Experiment, *where: ColumnElement[bool]) -> Sequence[Job]:
    """Jobs of the experiment's cells, their rows kept until the commit; before any cell is written.

    Whoever deletes a job keeps its row before those of its cells, so everyone goes in this order, and by id.
    """
    query = (
        select(Job)
        .join(Cell, Cell.job_id == Job.id)
        .where(Cell.experiment_id == experiment.id, ~Cell.is_reused, *where)
        .order_by(Job.id)
        .with_for_update(of=Job, key_share=True)
    )
    return session.scalars(query.execution_options(populate_existing=True)).all()


def hold(session: Session, experiment_id: str) -> Experiment | None:
    """The experiment, its row kept until the commit; none while another holds it, or where there is none."""
    query = select(Experiment).where(Experiment.id == experiment_id).with_for_update(skip_locked=True)
    return session.scalar(query.execution_options(populate_existing=True))


def room(session: Session, experiment: Experiment) -> int:
    """How many jobs more the experiment may have queued or running."""
    is_search = experiment.declaration["search"] is not None
    most = experiment.declaration["max_parallel"] or (SEARCH_WINDOW if is_search else WINDOW)
    taken = (
        select(func.count())
        .select_from(Cell)
        .join(Job, Job.id == Cell.job_id)
        .where(Cell.experiment_id == experiment.id, ~Cell.is_reused, Job.status.in_(_OPEN))
    )
    return int(most) - (session.scalar(taken) or 0)


def launch(session: Session, experiment: Experiment) -> list[str]:
    """Make jobs of waiting cells as far as there is room; returns those that are queued now.

    The caller holds the experiment's row, so that no cell becomes two jobs.
    """
    if experiment.wanted is not Wanted.RUN:
        return []
    left, queued = room(session, experiment), []
    for cell, arm in _waiting(session, experiment):
        if experiment.declaration["reuse"] and cell.job_id is None and (found := _equal_job(session, cell)):
            cell.job_id, cell.launched_at, cell.is_reused = found, now(), True
        elif left > 0:
            if job_id := _start(session, experiment, cell, arm):
                queued.append(job_id)
                left -= 1
        else:
            break
    session.flush()
    return queued


def _waiting(session: Session, experiment: Experiment) -> Sequence[tuple[Cell, ExperimentArm]]:
    of_cell = (ExperimentArm.experiment_id == Cell.experiment_id) & (ExperimentArm.number == Cell.arm)
    query = (
        select(Cell, ExperimentArm)
        .join(ExperimentArm, of_cell)
        .where(Cell.experiment_id == experiment.id, *_is_launchable())
        .order_by(Cell.number)
        .limit(MOST_CELLS_AT_ONCE)
    )
    found = session.execute(query).all()
    keep_jobs(session, experiment, Job.id.in_([cell.job_id for cell, _ in found if cell.job_id is not None]))
    return found


def _equal_job(session: Session, cell: Cell) -> str | None:
    """The newest job that has trained just this, its row kept from being deleted.

    One that has not ended may be paused or cancelled by whoever made it, and the cell would end with it.
    """
    has_a_result = (Job.status == Status.SUCCEEDED) | (Job.failure_code == FailureCode.DIVERGED)
    # A fork with the same spec has begun elsewhere.
    own_beginning = func.coalesce(Job.origin["kind"].as_string(), CELL) == CELL
    query = select(Job.id).where(Job.spec_hash == cell.cell_id, has_a_result, own_beginning)
    return session.scalar(query.order_by(Job.id.desc()).limit(1).with_for_update(read=True, key_share=True))


def _start(session: Session, experiment: Experiment, cell: Cell, arm: ExperimentArm) -> str | None:
    """Queue the job of a cell: that which it has, or a new one; none where there is nothing to be done."""
    cell.launched_at = now()
    if cell.job_id is not None:
        return _start_again(session, cell.job_id)
    try:
        spec = _spec(experiment, cell, arm)
    except ValidationError:
        cell.refusal = "This version of the service does not take the spec of this cell any more."
        return None
    origin = {"kind": CELL, "experiment": experiment.id, "cell_id": cell.cell_id, "arm": arm.name}
    cell.job_id = jobs.create(session, spec, priority=experiment.declaration["priority"], origin=origin).id
    return cell.job_id


def _start_again(session: Session, job_id: str) -> str | None:
    """Bring a job back that was taken back, paused, or has failed; someone else may have done so, and it ended."""
    status = jobs.get(session, job_id).status
    if status is Status.PAUSED:
        commands.resume(session, job_id)
    elif status in commands.RETRYABLE:
        commands.retry(session, job_id)
    else:
        return None
    return job_id


def _spec(experiment: Experiment, cell: Cell, arm: ExperimentArm) -> JobSpec:
    told: dict[str, Any] = {"labels": experiment.declaration["labels"], "seed": cell.seed}
    named = JobSpec.model_validate(arm.spec | told)
    return named.model_copy(update={"name": f"{experiment.name}: {arm.name}, seed {cell.seed}"[:200]})
