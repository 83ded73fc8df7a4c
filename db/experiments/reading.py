"""Experiments as clients see them: lists, cells, and all that a report is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from db.datasets import Task
from db.errors import InvalidCursor
from db.events import EventType
from db.experiments.arms import is_in
from db.experiments.progress import cell_status, progress
from db.experiments.records import Arm, Run, Searching, Subject, Target
from db.experiments.search import Search
from db.experiments.series import evaluations
from db.experiments.status import CellStatus
from db.experiments.tables import Cell, Experiment, ExperimentArm, Study
from db.ids import is_id
from db.presets.records import EXPECTED_SCALE
from db.presets.table import PRESETS
from db.spec.selection import GREATER_IS_BETTER, MEASURES, Selection, selection_of
from db.tables import Event, Job

#: Cells of a page are numbered.
LARGEST_CURSOR = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class CellLine:
    """One cell of a list."""

    cell: Cell
    arm: ExperimentArm
    status: CellStatus
    job: Job | None


def page(session: Session, limit: int, cursor: str | None) -> tuple[list[Experiment], str | None]:
    """Experiments from the newest on, and the cursor of the next page if there is one.

    Raises:
        InvalidCursor: `cursor` is not the id of an experiment.
    """
    query = select(Experiment).order_by(Experiment.id.desc()).limit(limit + 1)
    if cursor is not None:
        if not is_id("exp", cursor):
            raise InvalidCursor("cursor")
        query = query.where(Experiment.id < cursor)
    found = list(session.scalars(query))
    return found[:limit], found[limit - 1].id if len(found) > limit else None


def cells(
    session: Session,
    experiment: Experiment,
    status: CellStatus | None,
    arm: int | None,
    limit: int,
    cursor: str | None,
) -> tuple[list[CellLine], str | None]:
    """Cells in their order, and the cursor of the next page if there is one.

    Raises:
        InvalidCursor: `cursor` is not one of this service.
    """
    state = cell_status()
    query = _cells(experiment, state).order_by(Cell.number).limit(limit + 1)
    if status is not None:
        query = query.where(state == status.value)
    if arm is not None:
        query = query.where(Cell.arm == arm)
    if cursor is not None:
        if not cursor.isdecimal() or int(cursor) > LARGEST_CURSOR:
            raise InvalidCursor("cursor")
        query = query.where(Cell.number > int(cursor))
    rows = session.execute(query).all()
    lines = [CellLine(cell=row[0], arm=row[1], job=row[2], status=CellStatus(row[3])) for row in rows]
    return lines[:limit], str(lines[limit - 1].cell.number) if len(lines) > limit else None


def _cells(experiment: Experiment, state: Any) -> Select[Any]:
    arm = (ExperimentArm.experiment_id == Cell.experiment_id) & (ExperimentArm.number == Cell.arm)
    return (
        select(Cell, ExperimentArm, Job, state)
        .select_from(Cell)
        .join(ExperimentArm, arm)
        .outerjoin(Job, Job.id == Cell.job_id)
        .where(Cell.experiment_id == experiment.id)
    )


def subject(session: Session, experiment: Experiment) -> Subject:
    """The experiment as its report sees it."""
    selected = selection(session, experiment)
    return Subject(
        id=experiment.id,
        name=experiment.name,
        progress=progress(session, experiment),
        summary=_summary(experiment),
        arms=_arms(session, experiment),
        runs=_runs(session, experiment, [selected.metric]),
        target=_target(experiment),
        selection=selected,
        search=_search(session, experiment),
    )


def _summary(experiment: Experiment) -> dict[str, Any] | None:
    preset = PRESETS.get(experiment.declaration["preset"] or "")
    if preset is None:
        return None
    told = {name: getattr(preset, name) for name in ("name", "title", "source", "reported", "expected")}
    return told | {"scale": experiment.declaration["scale"], "expected_scale": EXPECTED_SCALE}


def _arms(session: Session, experiment: Experiment) -> list[Arm]:
    query = (
        select(ExperimentArm).where(ExperimentArm.experiment_id == experiment.id).order_by(ExperimentArm.number)
    )
    baseline = experiment.declaration["baseline"]
    return [
        Arm(
            number=arm.number,
            arm_id=arm.arm_id,
            name=arm.name,
            coordinates=arm.coordinates,
            resolved=arm.resolved,
            is_baseline=baseline is not None and is_in(arm.resolved, arm.coordinates, baseline),
            trial=arm.trial,
        )
        for arm in session.scalars(query)
    ]


def _target(experiment: Experiment) -> Target | None:
    declared = experiment.declaration["target"]
    if declared is None:
        return None
    return Target(
        metric=declared["metric"],
        value=declared["value"],
        greater_is_better=declared["metric"].rpartition("/")[2] in GREATER_IS_BETTER,
    )


def _search(session: Session, experiment: Experiment) -> Searching | None:
    if experiment.declaration["search"] is None:
        return None
    declared = Search.model_validate(experiment.declaration["search"])
    studies = session.scalar(select(func.count()).where(Study.experiment_id == experiment.id)) or 0
    return Searching(
        name=declared.name,
        sampler=declared.sampler,
        trials=studies * declared.trials,
        selection=selection(session, experiment, declared.metric),
    )


def selection(session: Session, experiment: Experiment, metric: str | None = None) -> Selection:
    """By which metric arms are compared: the given one, the target's, or what jobs of the first arm select by."""
    target = experiment.declaration["target"]
    if metric is None and target is not None:
        metric = target["metric"]
    if metric is not None:
        return selection_of(metric)
    first = select(ExperimentArm.resolved).where(ExperimentArm.experiment_id == experiment.id)
    resolved = session.scalar(first.order_by(ExperimentArm.number).limit(1))
    if resolved is None:  # a search that has not chosen anything yet
        return selection_of("test/accuracy")
    part = "validation" if resolved["dataset"]["validation_fraction"] else "test"
    return selection_of(f"{part}/{MEASURES[Task(resolved['task'])][0]}")


def _runs(session: Session, experiment: Experiment, names: Sequence[str]) -> list[Run]:
    jobs = select(Job.id).join(Cell, Cell.job_id == Job.id).where(Cell.experiment_id == experiment.id)
    series, findings = evaluations(session, jobs, names), _findings(session, jobs)
    columns = (
        cell_status().label("state"),
        Job.failure_code,
        Job.step,
        Job.steps,
        Job.latest,
        Job.best,
        Job.spent_seconds,
        Job.samples_per_second,
        Job.finished_at,
    )
    query = (
        select(Cell, *columns)
        .outerjoin(Job, Job.id == Cell.job_id)
        .where(Cell.experiment_id == experiment.id)
        .order_by(Cell.number)
    )
    return [
        Run(
            arm=row.Cell.arm,
            cell_id=row.Cell.cell_id,
            seed=row.Cell.seed,
            job=row.Cell.job_id,
            status=CellStatus(row.state),
            failure=row.failure_code,
            is_reused=row.Cell.is_reused,
            step=row.step or 0,
            steps=row.steps or 0,
            latest=row.latest or {},
            best=row.best or {},
            seconds=row.spent_seconds if row.finished_at is not None else None,
            samples_per_second=row.samples_per_second,
            findings=findings.get(row.Cell.job_id, ()),
            series=series.get(row.Cell.job_id, {}),
        )
        for row in session.execute(query)
    ]


def _findings(session: Session, jobs: Select[Any]) -> dict[str, list[tuple[str, str]]]:
    """What the newest diagnosis of each job found."""
    query = select(Event.job_id, Event.data).where(Event.job_id.in_(jobs), Event.type == EventType.DIAGNOSIS)
    newest: dict[str, Any] = dict(session.execute(query.order_by(Event.job_id, Event.seq)).all())
    return {
        job_id: [(each["code"], each["severity"]) for each in data["findings"]] for job_id, data in newest.items()
    }
