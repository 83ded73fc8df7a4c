"""What clients may ask of an experiment: pause, resume, cancel, retry what failed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db import commands
from db.errors import NotFound, TransitionRefused
from db.experiments import progress
from db.experiments.launch import launch
from db.experiments.status import ExperimentStatus, Wanted
from db.experiments.submit import own_job_only
from db.experiments.tables import Cell, Experiment
from db.ids import is_id
from db.status import FailureCode, Status, is_retryable
from db.tables import Job

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
    for job in _own_jobs(session, experiment, (Status.QUEUED, Status.STARTING, Status.RUNNING)):
        if job.status is Status.QUEUED:
            # The cell waits again, with its job, which `launch` retries.
            commands.cancel(session, job.id, reason="experiment_paused")
            waits = update(Cell).where(Cell.experiment_id == experiment.id, Cell.job_id == job.id)
            session.execute(waits.values(launched_at=None).execution_options(synchronize_session=False))
        else:
            commands.pause(session, job.id)
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
    paused = _own_jobs(session, experiment, (Status.PAUSED,))
    for job in paused:
        commands.resume(session, job.id)
    return Asked(queued=[job.id for job in paused] + launch(session, experiment))


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
    for job in _own_jobs(session, experiment, commands.CANCELLABLE):
        commands.cancel(session, job.id)


def retry_failed(session: Session, experiment: Experiment) -> Asked:
    """Let the cells wait again that failed in a way that may end otherwise, were cancelled, or lost their job.

    A run that diverged diverges again: it is a result, and stays.
    """
    may_end_otherwise = Job.failure_code.in_(RETRYABLE_FAILURES) | (Job.status == Status.CANCELLED)
    jobs = select(Job.id).where(Job.id == Cell.job_id, may_end_otherwise).exists()
    again = (
        update(Cell)
        .where(Cell.experiment_id == experiment.id, Cell.launched_at.is_not(None), Cell.job_id.is_(None) | jobs)
        .values(launched_at=None, refusal=None, **own_job_only())
        .returning(Cell.cell_id)
    )
    found = session.execute(again.execution_options(synchronize_session=False)).all()
    was_cancelled = experiment.wanted is Wanted.CANCEL
    if was_cancelled:
        experiment.wanted = Wanted.RUN
    return Asked(is_new=bool(found) or was_cancelled, queued=launch(session, experiment))


def _is(session: Session, experiment: Experiment, *statuses: ExperimentStatus) -> bool:
    return progress.status(session, experiment) in statuses


def _check(session: Session, experiment: Experiment, command: str, allowed: Sequence[ExperimentStatus]) -> None:
    status = progress.status(session, experiment)
    if status not in allowed:
        raise TransitionRefused(command, status.value, [each.value for each in allowed], noun="An experiment")


def _own_jobs(session: Session, experiment: Experiment, statuses: Sequence[Status]) -> Sequence[Job]:
    """Jobs in one of the statuses that were made for this experiment, their rows kept, in one order for all."""
    query = (
        select(Job)
        .join(Cell, Cell.job_id == Job.id)
        .where(Cell.experiment_id == experiment.id, ~Cell.is_reused, Job.status.in_(statuses))
        .order_by(Job.id)
        .with_for_update(of=Job)
    )
    return session.scalars(query.execution_options(populate_existing=True)).all()
