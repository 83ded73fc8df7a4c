"""Cells become jobs: no more at a time than the experiment may have, each once."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import func, select
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
    waiting = select(Cell.cell_id).where(Cell.experiment_id == Experiment.id, Cell.launched_at.is_(None)).exists()
    searching = select(Study.number).where(Study.experiment_id == Experiment.id, ~Study.is_done).exists()
    to_launch = select(Experiment).where(Experiment.wanted == Wanted.RUN, waiting | searching)
    # A job that was pausing when its experiment was cancelled is paused by now.
    left = select(Cell.experiment_id).join(Job, Job.id == Cell.job_id).join(Experiment)
    to_cancel = left.where(Job.status == Status.PAUSED, Experiment.wanted == Wanted.CANCEL, ~Cell.is_reused)
    unfinished = session.scalars(to_launch.order_by(Experiment.id)).all()
    # Here, and not under the lock of a write, which others would wait for four times a second.
    with_room = [each.id for each in unfinished if room(session, each) > 0]
    return with_room + list(session.scalars(to_cancel.distinct()))


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
    query = (
        select(Cell, ExperimentArm)
        .join(
            ExperimentArm, (ExperimentArm.experiment_id == Cell.experiment_id) & (ExperimentArm.number == Cell.arm)
        )
        .where(Cell.experiment_id == experiment.id, Cell.launched_at.is_(None))
        .order_by(Cell.number)
        .limit(MOST_CELLS_AT_ONCE)
    )
    return session.execute(query).all()


def _equal_job(session: Session, cell: Cell) -> str | None:
    """The newest job that has trained, trains or will train just this."""
    usable = Job.status.in_((Status.SUCCEEDED, Status.QUEUED, Status.STARTING, Status.RUNNING))
    diverged = Job.failure_code == FailureCode.DIVERGED
    query = select(Job.id).where(Job.spec_hash == cell.cell_id, usable | diverged)
    # A fork with the same spec has begun elsewhere.
    own_beginning = func.coalesce(Job.origin["kind"].as_string(), CELL) == CELL
    done_first = (Job.status == Status.SUCCEEDED).desc()
    return session.scalar(query.where(own_beginning).order_by(done_first, Job.id.desc()).limit(1))


def _start(session: Session, experiment: Experiment, cell: Cell, arm: ExperimentArm) -> str | None:
    cell.launched_at = now()
    if cell.job_id is not None:
        # Someone may have retried it meanwhile, or it may have ended well.
        job = jobs.get(session, cell.job_id)
        if job.status not in commands.RETRYABLE:
            return None
        commands.retry(session, cell.job_id)
        return cell.job_id
    try:
        spec = _spec(experiment, cell, arm)
    except ValidationError:
        cell.refusal = "This version of the service does not take the spec of this cell any more."
        return None
    origin = {"kind": CELL, "experiment": experiment.id, "cell_id": cell.cell_id, "arm": arm.name}
    cell.job_id = jobs.create(session, spec, priority=experiment.declaration["priority"], origin=origin).id
    return cell.job_id


def _spec(experiment: Experiment, cell: Cell, arm: ExperimentArm) -> JobSpec:
    told: dict[str, Any] = {"labels": experiment.declaration["labels"], "seed": cell.seed}
    named = JobSpec.model_validate(arm.spec | told)
    return named.model_copy(update={"name": f"{experiment.name}: {arm.name}, seed {cell.seed}"[:200]})
