"""What clients may ask of an experiment: pause, resume, cancel, retry what failed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import ColumnElement, case, select, update
from sqlalchemy.orm import Session

from db import commands
from db.errors import NotFound, TransitionRefused
from db.experiments import progress
from db.experiments.launch import keep_jobs, launch
from db.experiments.status import ExperimentStatus, Wanted
from db.experiments.tables import Cell, Experiment
from db.ids import is_id
from db.status import FailureCode, Status, is_retryable
from db.tables import Job

NO_OTHERS = sa.false()
#: Failures that are worth another try.
RETRYABLE_FAILURES = tuple(code for code in FailureCode if is_retryable(code))

#: Statuses from which each command is taken.
PAUSABLE = (ExperimentStatus.RUNNING,)
RESUMABLE = (ExperimentStatus.PAUSED, ExperimentStatus.PAUSING)
CANCELLABLE = (ExperimentStatus.RUNNING, ExperimentStatus.PAUSING, ExperimentStatus.PAUSED)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What came of a command."""

    #: False where it was asked for before, and nothing has changed.
    is_new: bool = True
    #: Jobs that are queued by it.
    queued: Sequence[str] = ()
    #: Cells that had ended and wait again, or are queued already; none of a command that does not ask for it.
    retried: int | None = None


#: Takes an experiment whose row is kept.
Command = Callable[[Session, Experiment], Asked]


def get(session: Session, experiment_id: str, *, keep: bool = False) -> Experiment:
    """The experiment; with `keep` its row stays as it is until the commit.

    Raises:
        NotFound: there is none with this id.
    """
    query = select(Experiment).where(Experiment.id == experiment_id)
    found = session.scalar(query.with_for_update() if keep else query) if is_id("exp", experiment_id) else None
    if found is None:
        raise NotFound("experiment", experiment_id)
    return found


def pause(session: Session, experiment: Experiment) -> Asked:
    """Start no more cells, take queued jobs back, and have running ones save their state and let go of their slot.

    Raises:
        TransitionRefused: it was cancelled, or has ended.
    """
    if _is(session, experiment, ExperimentStatus.PAUSING, ExperimentStatus.PAUSED):
        return Asked(is_new=False)
    _check(session, experiment, "be paused", PAUSABLE)
    experiment.wanted = Wanted.PAUSE
    stopped = keep_jobs(session, experiment, Job.status.in_((Status.QUEUED, *commands.PAUSABLE)))
    for job in stopped:
        if job.status is Status.QUEUED:
            commands.cancel(session, job.id, reason="experiment_paused")
        else:
            commands.pause(session, job.id)
    # They wait again, each with its job: `launch` resumes and retries.
    _let_wait(session, experiment, Cell.job_id.in_([job.id for job in stopped]))
    return Asked()


def resume(session: Session, experiment: Experiment) -> Asked:
    """Go on: paused jobs where they were, then the cells that wait.

    Raises:
        TransitionRefused: it is not paused.
    """
    if _is(session, experiment, ExperimentStatus.RUNNING):
        return Asked(is_new=False)
    _check(session, experiment, "be resumed", RESUMABLE)
    experiment.wanted = Wanted.RUN
    return Asked(queued=launch(session, experiment))


def cancel(session: Session, experiment: Experiment) -> Asked:
    """Start no more cells and cancel the jobs of those that have not ended; what they recorded stays.

    Raises:
        TransitionRefused: it has ended.
    """
    if _is(session, experiment, ExperimentStatus.CANCELLING, ExperimentStatus.CANCELLED):
        return Asked(is_new=False)
    _check(session, experiment, "be cancelled", CANCELLABLE)
    experiment.wanted = Wanted.CANCEL
    cancel_jobs(session, experiment)
    return Asked()


def cancel_jobs(session: Session, experiment: Experiment) -> None:
    """Cancel what can be cancelled now. A job that is pausing comes once it is paused."""
    for job in keep_jobs(session, experiment, Job.status.in_(commands.CANCELLABLE)):
        commands.cancel(session, job.id)


def retry_failed(session: Session, experiment: Experiment) -> Asked:
    """Let the cells wait again that failed in a way that may end otherwise, were cancelled, or lost their job.

    A run that diverged diverges again: it is a result, and stays.
    """
    is_revived = revive(session, experiment)
    found = ask_again(session, experiment, Job.failure_code.in_(RETRYABLE_FAILURES))
    queued = launch(session, experiment)
    return Asked(is_new=bool(found) or is_revived, queued=queued, retried=found)


def ask_again(session: Session, experiment: Experiment, also: ColumnElement[bool] = NO_OTHERS) -> int:
    """Let the cells wait whose job was cancelled, also while it is still stopping, or deleted; returns how many.

    `also` says of which other jobs.
    """
    again = Job.status.in_((Status.CANCELLED, Status.CANCELLING)) | also
    stopped = keep_jobs(session, experiment, again)
    # A diverged job that was reused, and that its owner has tried again since.
    is_others = Cell.is_reused & select(Job.id).where(Job.id == Cell.job_id, again).exists()
    own = Cell.job_id.in_([job.id for job in stopped])
    return _let_wait(session, experiment, Cell.job_id.is_(None) | is_others | own)


def revive(session: Session, experiment: Experiment) -> bool:
    """Have one run that was cancelled, or that ended while it was to be paused; whether it was."""
    before = experiment.wanted
    if before is Wanted.CANCEL or _is(session, experiment, ExperimentStatus.COMPLETED):
        experiment.wanted = Wanted.RUN
    return before is Wanted.CANCEL


def _let_wait(session: Session, experiment: Experiment, where: ColumnElement[bool]) -> int:
    """Have launched cells wait for a launch; returns how many."""
    waits = update(Cell).where(Cell.experiment_id == experiment.id, Cell.launched_at.is_not(None), where)
    # The job of another is not tried again: the cell gets one of its own.
    own_job = case((Cell.is_reused, None), else_=Cell.job_id)
    waits = waits.values(launched_at=None, refusal=None, is_reused=False, job_id=own_job).returning(Cell.cell_id)
    return len(session.execute(waits.execution_options(synchronize_session=False)).all())


def _is(session: Session, experiment: Experiment, *statuses: ExperimentStatus) -> bool:
    return progress.status(session, experiment) in statuses


def _check(session: Session, experiment: Experiment, command: str, allowed: Sequence[ExperimentStatus]) -> None:
    status = progress.status(session, experiment)
    if status not in allowed:
        raise TransitionRefused(command, status.value, [each.value for each in allowed], noun="An experiment")
