"""Storing what is declared: a new experiment, or what one that is there lacks."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.base import now
from db.errors import NormlabError
from db.experiments import commands, progress, studies
from db.experiments.arms import Expansion, cells_of_arm
from db.experiments.cells import add_arms, add_cells
from db.experiments.declaration import Declaration
from db.experiments.status import Wanted
from db.experiments.tables import Experiment
from db.ids import new_id
from db.spec.job import canonical_digest

#: What makes an experiment without a name the same as another.
_DECIDES = ("preset", "scale", "base", "arms", "axes", "exclude")
#: What stays as it was where a later post leaves it out.
_KEPT = ("labels", "baseline", "target", "max_parallel", "priority", "reuse")


class NameTaken(NormlabError):
    """A name that an experiment on another base has."""

    code = "name_taken"

    def __init__(self, name: str, id: str) -> None:
        super().__init__(
            f"Experiment {id} has the name {name!r} and another base or search, so its arms could not be compared "
            "with these. Choose another name; arms, axes, seeds and trials may be added to one that is there."
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
        ArmTaken: an arm's name belongs to another arm.
        ExperimentFull: it would have too many cells.
    """
    key = key_of(declaration)
    experiment, is_new = _find_or_make(session, key, declaration, expansion)
    before = 0 if is_new else progress.size(session, experiment)
    if not is_new:
        values = _merged(experiment, declaration)
        expansion = expansion.with_cells_of_arm(cells_of_arm(len(values["seeds"]), _trials(values)))
        commands.revive(session, experiment)
        _update(session, experiment, values, expansion)
    if declaration.search is None:
        _add(session, experiment, expansion)
    else:
        studies.add(session, experiment, expansion)
    added = progress.size(session, experiment) - before + commands.ask_again(session, experiment)
    session.flush()
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


def _merged(found: Experiment, declaration: Declaration) -> dict[str, Any]:
    """The declaration as it is now: nothing is taken away that the client does not take away itself.

    Raises:
        NameTaken: it is on another base, or searches otherwise.
    """
    earlier, values = found.declaration, declaration.model_dump(mode="json")
    if _comparable(earlier) != _comparable(values):
        raise NameTaken(found.name, found.id)
    given = declaration.model_fields_set
    kept = {field: earlier[field] for field in _KEPT if field not in given}
    more_seeds = values["seeds"] if "seeds" in given else []
    merged: dict[str, Any] = values | kept | {"seeds": list(dict.fromkeys([*earlier["seeds"], *more_seeds]))}
    if merged["search"] is not None:
        merged["search"]["trials"] = max(earlier["search"]["trials"], values["search"]["trials"])
    return merged


def _comparable(declaration: dict[str, Any]) -> tuple[Any, ...]:
    return declaration["base"], _search(declaration)


def _search(declaration: dict[str, Any]) -> dict[str, Any] | None:
    """The search but for its length: trials may be added."""
    search = declaration["search"]
    return None if search is None else {**search, "trials": None}


def _trials(declaration: dict[str, Any]) -> int | None:
    search = declaration["search"]
    return None if search is None else search["trials"]


def _update(session: Session, found: Experiment, values: dict[str, Any], expansion: Expansion) -> None:
    if _trials(values) != _trials(found.declaration):
        studies.go_on(session, found)
    found.declaration = values
    found.declared, found.excluded, found.equal = expansion.declared, expansion.excluded, expansion.equal
    session.flush()


def _add(session: Session, experiment: Experiment, expansion: Expansion) -> None:
    numbers = add_arms(session, experiment.id, expansion.arms)
    seeds = experiment.declaration["seeds"]
    wanted = [(arm.resolved, numbers[arm.arm_id], seed) for seed in seeds for arm in expansion.arms]
    add_cells(session, experiment.id, wanted)
