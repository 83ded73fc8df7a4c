"""Storing what is declared: a new experiment, or what one that is there lacks."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.base import now
from db.errors import NormlabError
from db.experiments.arms import DeclaredArm, Expansion
from db.experiments.declaration import MOST_CELLS, Declaration
from db.experiments.status import Wanted
from db.experiments.tables import Cell, Experiment, ExperimentArm, Study
from db.ids import new_id
from db.spec.job import canonical_digest
from db.status import Status
from db.tables import Job

#: What makes an experiment without a name the same as another.
_DECIDES = ("preset", "scale", "base", "arms", "axes", "exclude")


class NameTaken(NormlabError):
    """A name that an experiment on another base has."""

    code = "name_taken"

    def __init__(self, name: str, id: str) -> None:
        super().__init__(
            f"Experiment {id} has the name {name!r} and another base or search, so its arms could not be compared "
            "with these. Choose another name; arms, axes, seeds and trials may be added to one that is there."
        )


class ExperimentFull(NormlabError):
    """More cells than one experiment may have, with those that it has."""

    code = "too_many_cells"

    def __init__(self, id: str, count: int) -> None:
        super().__init__(
            f"With these experiment {id} would have {count} cells, and one has at most {MOST_CELLS}. "
            "Choose another name for a new one."
        )


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What came of it."""

    experiment: Experiment
    is_new: bool
    #: Cells that were not there before, or whose job was cancelled or deleted.
    added: int


def key_of(declaration: Declaration) -> str:
    """By what an experiment is found when it is posted again: its name, or all that decides its arms."""
    if declaration.name is not None:
        return f"name:{declaration.name}"
    values = declaration.model_dump(mode="json")
    decisive = {part: values[part] for part in _DECIDES} | {"search": _search(values)}
    return f"declaration:{canonical_digest(decisive)}"


def submit(session: Session, declaration: Declaration, expansion: Expansion) -> Submission:
    """Store the experiment, or add what it lacks to the one that is there; what was cancelled goes on.

    Raises:
        NameTaken: the name belongs to an experiment on another base.
        ExperimentFull: it would have too many cells.
    """
    key, values = key_of(declaration), declaration.model_dump(mode="json")
    experiment, is_new = _find_or_make(session, key, declaration, expansion)
    if not is_new:
        _check_same(experiment, values)
        _update(session, experiment, values, expansion)
    added = _add_studies(session, experiment, expansion) if declaration.search else 0
    if declaration.search is None:
        numbers = add_arms(session, experiment.id, expansion.arms)
        pairs = [(arm, numbers[arm.arm_id], seed) for seed in declaration.seeds for arm in expansion.arms]
        added = add_cells(session, experiment.id, pairs)
    added += _ask_again(session, experiment.id)
    session.refresh(experiment)
    return Submission(experiment=experiment, is_new=is_new, added=added)


def _find_or_make(
    session: Session, key: str, declaration: Declaration, expansion: Expansion
) -> tuple[Experiment, bool]:
    """The experiment, its row kept, and whether it was made just now."""
    query = select(Experiment).where(Experiment.key == key).with_for_update()
    if (found := session.scalar(query)) is not None:
        return found, False
    try:
        with session.begin_nested():
            return _new(session, key, declaration, expansion), True
    except IntegrityError:  # on Postgres another request may have made it meanwhile
        return session.scalars(query).one(), False


def _new(session: Session, key: str, declaration: Declaration, expansion: Expansion) -> Experiment:
    made = Experiment(
        id=new_id("exp"),
        key=key,
        name=declaration.name or _made_name(declaration, key),
        wanted=Wanted.RUN,
        declaration=declaration.model_dump(mode="json"),
        declared=expansion.declared,
        excluded=expansion.excluded,
        equal=expansion.equal,
        created_at=now(),
    )
    session.add(made)
    session.flush()
    return made


def _made_name(declaration: Declaration, key: str) -> str:
    if declaration.preset is not None:
        return f"{declaration.preset} ({declaration.scale})"
    return f"experiment {key.rpartition(':')[2][:8]}"


def _check_same(found: Experiment, values: dict[str, Any]) -> None:
    if _comparable(found.declaration) != _comparable(values):
        raise NameTaken(found.name, found.id)


def _comparable(declaration: dict[str, Any]) -> tuple[Any, ...]:
    return declaration["base"], _search(declaration)


def _search(declaration: dict[str, Any]) -> dict[str, Any] | None:
    """The search but for its length: trials may be added."""
    search = declaration["search"]
    return None if search is None else {**search, "trials": None}


def _update(session: Session, found: Experiment, values: dict[str, Any], expansion: Expansion) -> None:
    found.declaration = values
    found.declared, found.excluded, found.equal = expansion.declared, expansion.excluded, expansion.equal
    if found.wanted is Wanted.CANCEL:
        found.wanted = Wanted.RUN
    session.flush()


def add_arms(session: Session, experiment_id: str, arms: tuple[DeclaredArm, ...], **trial: Any) -> dict[str, int]:
    """Store the arms that are not there yet; returns the number of each by its id. `trial` is of a search."""
    stored = select(ExperimentArm.arm_id, ExperimentArm.number).where(ExperimentArm.experiment_id == experiment_id)
    numbers: dict[str, int] = dict(session.execute(stored).all())
    rows = []
    for arm in arms:
        if arm.arm_id not in numbers:
            numbers[arm.arm_id] = len(numbers)
            rows.append(
                {
                    "experiment_id": experiment_id,
                    "number": numbers[arm.arm_id],
                    "arm_id": arm.arm_id,
                    "name": arm.name,
                    "coordinates": arm.coordinates,
                    "spec": arm.spec,
                    "resolved": arm.resolved,
                    "estimated_seconds": arm.estimated_seconds,
                    "study": None,
                    "trial": None,
                    "parameters": None,
                    **trial,
                }
            )
    if rows:
        session.execute(insert(ExperimentArm), rows)
    return numbers


def add_cells(session: Session, experiment_id: str, pairs: list[tuple[DeclaredArm, int, int]]) -> int:
    """Store the cells of arms, with their numbers, and seeds that are not there yet; returns how many.

    Raises:
        ExperimentFull: there would be too many.
    """
    there = set(session.scalars(select(Cell.cell_id).where(Cell.experiment_id == experiment_id)))
    rows = [
        {"cell_id": cell_id, "arm": number, "seed": seed}
        for arm, number, seed in pairs
        if (cell_id := arm.cell_id(seed)) not in there
    ]
    if len(there) + len(rows) > MOST_CELLS:
        raise ExperimentFull(experiment_id, len(there) + len(rows))
    common = {"experiment_id": experiment_id, "is_reused": False, "job_id": None, "launched_at": None}
    if rows:
        session.execute(
            insert(Cell), [{**common, **row, "number": number} for number, row in enumerate(rows, len(there))]
        )
    return len(rows)


def _add_studies(session: Session, experiment: Experiment, expansion: Expansion) -> int:
    """Store the studies that are not there yet; their cells come with the trials."""
    known = session.scalars(select(Study.coordinates).where(Study.experiment_id == experiment.id)).all()
    new = [arm for arm in expansion.arms if arm.coordinates not in known]
    for number, arm in enumerate(new, len(known)):
        session.add(
            Study(
                experiment_id=experiment.id,
                number=number,
                name=arm.name,
                coordinates=arm.coordinates,
                spec=arm.spec,
                is_done=False,
            )
        )
    session.flush()
    session.execute(update(Study).where(Study.experiment_id == experiment.id).values(is_done=False))
    cells_of_one: int = len(experiment.declaration["seeds"]) * experiment.declaration["search"]["trials"]
    return len(new) * cells_of_one


def _ask_again(session: Session, experiment_id: str) -> int:
    """Let the cells wait whose job was cancelled or deleted; returns how many."""
    cancelled = select(Job.id).where(Job.id == Cell.job_id, Job.status == Status.CANCELLED).exists()
    gone = Cell.job_id.is_(None) & Cell.refusal.is_(None)
    again = (
        update(Cell)
        .where(Cell.experiment_id == experiment_id, Cell.launched_at.is_not(None), or_(gone, cancelled))
        .values(launched_at=None, **own_job_only())
        .returning(Cell.cell_id)
    )
    return len(session.execute(again.execution_options(synchronize_session=False)).all())


def own_job_only() -> dict[str, Any]:
    """Of a cell that is to run again: the job of another is not tried again, it gets one of its own."""
    return {"is_reused": False, "job_id": case((Cell.is_reused, None), else_=Cell.job_id)}
