"""The studies of a search as rows: one for each declared setting; their cells come with the trials."""

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from db.experiments.arms import Expansion
from db.experiments.cells import ArmTaken, ExperimentFull, add_cells
from db.experiments.declaration import MOST_CELLS
from db.experiments.paths import ARM
from db.experiments.tables import Experiment, ExperimentArm, Study
from db.spec.job import canonical_digest


def add(session: Session, experiment: Experiment, expansion: Expansion) -> None:
    """Store the studies that are not there yet, and cells for seeds that stored trials lack.

    Raises:
        ArmTaken: one has the name of another.
        ExperimentFull: there would be too many cells.
    """
    stored = session.scalars(select(Study).where(Study.experiment_id == experiment.id)).all()
    specs = {canonical_digest(study.coordinates): study.spec for study in stored}
    new = []
    for arm in expansion.arms:
        known = specs.get(canonical_digest(arm.coordinates))
        if known is None:
            new.append(arm)
        elif ARM in arm.coordinates and known != arm.spec:
            raise ArmTaken(arm.name)
    count = (len(stored) + len(new)) * expansion.cells_of_arm
    if count > MOST_CELLS:
        raise ExperimentFull(experiment.id, count)
    session.add_all(
        Study(
            experiment_id=experiment.id,
            number=number,
            name=arm.name,
            coordinates=arm.coordinates,
            spec=arm.spec,
            is_done=False,
        )
        for number, arm in enumerate(new, len(stored))
    )
    session.flush()
    trials = select(ExperimentArm).where(ExperimentArm.experiment_id == experiment.id)
    chosen = session.scalars(trials.order_by(ExperimentArm.number)).all()
    seeds = experiment.declaration["seeds"]
    add_cells(session, experiment.id, [(arm.resolved, arm.number, seed) for seed in seeds for arm in chosen])


def go_on(session: Session, experiment: Experiment) -> None:
    """Have studies that were done ask for more trials."""
    session.execute(update(Study).where(Study.experiment_id == experiment.id).values(is_done=False))


def unchosen(session: Session, experiment: Experiment) -> int:
    """Cells that are still to be chosen."""
    search = experiment.declaration["search"]
    if search is None:
        return 0
    chosen = select(func.count()).where(
        ExperimentArm.experiment_id == Study.experiment_id, ExperimentArm.study == Study.number
    )
    query = select(search["trials"] - chosen.scalar_subquery())
    left = session.scalars(query.where(Study.experiment_id == experiment.id, ~Study.is_done))
    trials: int = sum(max(0, each) for each in left)
    return trials * len(experiment.declaration["seeds"])
