"""Arms and cells as rows: each once, numbered in the order in which they come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from db.errors import NormlabError, NotFound
from db.experiments.arms import DeclaredArm, cell_id_of
from db.experiments.declaration import MOST_CELLS
from db.experiments.paths import ARM
from db.experiments.tables import Cell, ExperimentArm


class ExperimentFull(NormlabError):
    """More cells than one experiment may have, with those that it has."""

    code = "too_many_cells"

    def __init__(self, id: str, count: int) -> None:
        super().__init__(
            f"With these experiment {id} would have {count} cells, and one has at most {MOST_CELLS}. "
            "Choose another name for a new one."
        )


class ArmTaken(NormlabError):
    """A named arm that was declared otherwise before."""

    code = "arm_taken"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The experiment has an arm {name!r} that sets something else. Give this one another name, or the "
            "runs of both would be told as those of one."
        )


def check_arm(session: Session, experiment_id: str, number: int) -> None:
    """The experiment has an arm of that number.

    Raises:
        NotFound: it has none.
    """
    if session.get(ExperimentArm, (experiment_id, number)) is None:
        raise NotFound("arm", str(number))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Which trial of a search chose an arm, and its values as the sampler knows them."""

    study: int
    number: int
    parameters: Mapping[str, Any]


def add_arms(
    session: Session, experiment_id: str, arms: Sequence[DeclaredArm], trial: Trial | None = None
) -> dict[str, int]:
    """Store the arms that are not there yet; returns the number of each by its id.

    Raises:
        ArmTaken: one has the name of another.
    """
    columns = (ExperimentArm.arm_id, ExperimentArm.number, ExperimentArm.coordinates)
    stored = session.execute(select(*columns).where(ExperimentArm.experiment_id == experiment_id)).all()
    numbers = {arm_id: number for arm_id, number, _ in stored}
    named = [coordinates for _, _, coordinates in stored if ARM in coordinates]
    new = [arm for arm in arms if arm.arm_id not in numbers]
    for arm in new:
        if arm.coordinates in named:
            raise ArmTaken(arm.name)
        numbers[arm.arm_id] = len(numbers)
    chosen = {
        "study": trial and trial.study,
        "trial": trial and trial.number,
        "parameters": trial and dict(trial.parameters),
    }
    rows = [{"experiment_id": experiment_id, "number": numbers[arm.arm_id], **vars(arm), **chosen} for arm in new]
    if rows:
        session.execute(insert(ExperimentArm), rows)
    return numbers


def add_cells(session: Session, experiment_id: str, wanted: Sequence[tuple[Mapping[str, Any], int, int]]) -> int:
    """Store the cells that are not there yet, each a resolved spec, the number of its arm, and a seed.

    Returns how many.

    Raises:
        ExperimentFull: there would be too many.
    """
    there = set(session.scalars(select(Cell.cell_id).where(Cell.experiment_id == experiment_id)))
    rows = [
        {"cell_id": cell_id, "arm": number, "seed": seed}
        for resolved, number, seed in wanted
        if (cell_id := cell_id_of(resolved, seed)) not in there
    ]
    if len(there) + len(rows) > MOST_CELLS:
        raise ExperimentFull(experiment_id, len(there) + len(rows))
    common = {"experiment_id": experiment_id, "is_reused": False, "job_id": None, "launched_at": None}
    if rows:
        session.execute(
            insert(Cell), [{**common, **row, "number": number} for number, row in enumerate(rows, len(there))]
        )
    return len(rows)
