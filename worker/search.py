"""Searches through optuna's ask and tell.

A study is rebuilt from its trials whenever it is asked: the database has all that it knows, so any worker may.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.experiments.arms import DeclaredArm, make_arm
from db.experiments.cells import Trial, add_arms, add_cells
from db.experiments.reading import selection
from db.experiments.search import Choices, Range, Search
from db.experiments.tables import Cell, Experiment, ExperimentArm, Study
from db.memory import training_memory
from db.spec.job import JobSpec
from db.spec.selection import Selection
from db.status import FINAL, FailureCode, Status
from db.tables import Job

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

#: Suggestions in a row that were tried before, or that no job takes: after some they come at random, and after
#: more a study has nothing new.
MOST_REPEATS, MOST_USELESS = 5, 60


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """One setting that a study chose, and what came of it."""

    #: As the sampler knows them.
    parameters: Mapping[str, Any]
    #: None while a job of it has not ended.
    value: float | None
    #: Its jobs have ended and say nothing: they were cancelled, or failed for no fault of the setting.
    is_void: bool


def ask(session: Session, experiment: Experiment, room: int, memory_limit_bytes: int) -> None:
    """Choose new settings as far as there is room for their jobs; the caller holds the experiment's row.

    No setting is chosen whose job would hold more than `memory_limit_bytes`.
    """
    waiting = select(func.count()).where(Cell.experiment_id == experiment.id, Cell.launched_at.is_(None))
    room -= session.scalar(waiting) or 0
    search = Search.model_validate(experiment.declaration["search"])
    while room > 0 and (study := _next_study(session, experiment, search)) is not None:
        _ask(session, experiment, search, study, memory_limit_bytes)
        room -= len(experiment.declaration["seeds"])


def _next_study(session: Session, experiment: Experiment, search: Search) -> Study | None:
    """The one that is behind the others; one that has all its trials is done."""
    count = func.count(ExperimentArm.number)
    arms = (ExperimentArm.experiment_id == Study.experiment_id) & (ExperimentArm.study == Study.number)
    query = (
        select(Study, count)
        .outerjoin(ExperimentArm, arms)
        .where(Study.experiment_id == experiment.id, ~Study.is_done)
        .group_by(Study.experiment_id, Study.number)
        .order_by(count, Study.number)
    )
    for study, trials in session.execute(query).all():
        if trials < search.trials:
            return study
        study.is_done = True
    return None


def _ask(session: Session, experiment: Experiment, search: Search, study: Study, memory_limit_bytes: int) -> None:
    selected = selection(session, experiment, search.metric)
    trials = _trials(session, experiment, study, selected)
    known = set(session.scalars(select(ExperimentArm.arm_id).where(ExperimentArm.experiment_id == experiment.id)))
    for attempt in range(MOST_USELESS):
        parameters = _suggest(search, study, trials, attempt, selected)
        arm = _arm(search, study, parameters, memory_limit_bytes)
        if arm is not None and arm.arm_id not in known:
            trial = Trial(study=study.number, number=len(trials), parameters=parameters)
            number = add_arms(session, experiment.id, [arm], trial)[arm.arm_id]
            seeds = experiment.declaration["seeds"]
            add_cells(session, experiment.id, [(arm.resolved, number, seed) for seed in seeds])
            return
    study.is_done = True


def _arm(
    search: Search, study: Study, parameters: Mapping[str, Any], memory_limit_bytes: int
) -> DeclaredArm | None:
    """The arm with these values; none if no job takes them, or it would be too large."""
    values = {path: _value(search.space[path], parameter) for path, parameter in parameters.items()}
    too_large: list[bool] = []

    def check(spec: JobSpec) -> None:
        too_large.append(training_memory(spec).total > memory_limit_bytes)

    try:
        arm = make_arm(study.spec, values, {**study.coordinates, **values}, check)
    except ValidationError:
        return None
    return None if any(too_large) else arm


def _suggest(
    search: Search, study: Study, trials: Sequence[_Trial], attempt: int, selection: Selection
) -> dict[str, Any]:
    """What the sampler would try next."""
    # Here, because the other threads of a worker need no optuna.
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Made of where the search stands: whoever asks is told the same.
    state = np.random.SeedSequence((search.seed, study.number, len(trials), attempt)).generate_state(1)
    seed = int(state[0])
    if search.sampler == "TPESampler" and attempt < MOST_REPEATS:
        # Trials that run count as bad ones, so that the next is not beside them.
        sampler: optuna.samplers.BaseSampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    else:
        sampler = optuna.samplers.RandomSampler(seed=seed)
    direction: Literal["maximize", "minimize"] = "maximize" if selection.greater_is_better else "minimize"
    told = optuna.create_study(sampler=sampler, direction=direction)
    distributions = {path: _distribution(values) for path, values in search.space.items()}
    told.add_trials([_frozen(trial, distributions) for trial in trials])
    return dict(told.ask(distributions).params)


def _distribution(values: Range | Choices) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(values, Choices):
        # As text: optuna's choices are plain values, and a choice may be a whole part.
        return CategoricalDistribution([json.dumps(choice, sort_keys=True) for choice in values.choices])
    if values.integer:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def _value(values: Range | Choices, parameter: Any) -> Any:
    return json.loads(parameter) if isinstance(values, Choices) else parameter


def _frozen(trial: _Trial, distributions: Mapping[str, "BaseDistribution"]) -> "FrozenTrial":
    from optuna.trial import TrialState, create_trial

    running = TrialState.FAIL if trial.is_void else TrialState.RUNNING
    return create_trial(
        state=running if trial.value is None else TrialState.COMPLETE,
        value=trial.value,
        params=dict(trial.parameters),
        distributions=dict(distributions),
    )


def _trials(session: Session, experiment: Experiment, study: Study, selection: Selection) -> list[_Trial]:
    """The trials of a study in their order."""
    cells = (Cell.experiment_id == ExperimentArm.experiment_id) & (Cell.arm == ExperimentArm.number)
    query = (
        select(ExperimentArm.trial, ExperimentArm.parameters, Job.status, Job.failure_code, Job.latest)
        .join(Cell, cells)
        .outerjoin(Job, Job.id == Cell.job_id)
        .where(ExperimentArm.experiment_id == experiment.id, ExperimentArm.study == study.number)
        .order_by(ExperimentArm.trial, Cell.number)
    )
    found: dict[int, Any] = {}
    runs: dict[int, list[Any]] = defaultdict(list)
    for trial, parameters, *job in session.execute(query):
        found[trial] = parameters
        runs[trial].append(job)
    return [_trial(parameters, runs[trial], selection) for trial, parameters in found.items()]


def _trial(parameters: Mapping[str, Any], runs: Sequence[Any], selection: Selection) -> _Trial:
    if any(status is None or status not in FINAL for status, _, _ in runs):
        return _Trial(parameters=parameters, value=None, is_void=False)
    worst = -math.inf if selection.greater_is_better else math.inf
    values = []
    for status, failure, latest in runs:
        if failure is FailureCode.DIVERGED:
            values.append(worst)
        elif status is Status.SUCCEEDED and selection.metric in latest:
            value = float(latest[selection.metric]["value"])
            values.append(value if math.isfinite(value) else worst)
    return _Trial(parameters=parameters, value=median(values) if values else None, is_void=not values)
