"""A job's saved states as clients see them."""

from typing import Self

from api.schemas.base import Out, Timestamp
from db.checkpoints import by_score
from db.tables import Checkpoint


class CheckpointOut(Out):
    """A saved state. Its files are artifacts."""

    id: str
    """`ckpt_...`."""
    job_id: str
    """The job whose state it is."""
    attempt: int
    """The attempt that saved it; 0 for what a fork began with."""
    step: int
    """Optimizer steps that are done in it."""
    epoch: int
    """The epoch of the last batch in it, from 1; 0 before the first."""
    size_bytes: int
    """Of all its files together."""
    score: float | None
    """Value of the metric that the job selects by, the greater the better: an error has its sign turned. Null
    where the step was not evaluated."""
    is_resumable: bool
    """False for one of an older version: it has a model, but no attempt and no fork goes on from it."""
    is_best: bool = False
    """Whether it is the one that `best` names: of the greatest score, the older of equals."""
    created_at: Timestamp
    """When it was committed."""
    damaged_at: Timestamp | None
    """When a file of it was found not to be what was written; it is not used any more. Null for a whole one."""


class CheckpointList(Out):
    """A job's checkpoints, the newest first."""

    data: list[CheckpointOut]
    """The checkpoints, the newest first."""
    next_cursor: None = None
    """Always null: the list is whole."""

    @classmethod
    def of(cls, checkpoints: list[Checkpoint]) -> Self:
        """What a client sees of the rows."""
        best = [row.id for row in by_score([row for row in checkpoints if row.damaged_at is None])[:1]]
        shown = [CheckpointOut.model_validate(row) for row in checkpoints]
        return cls(data=[row.model_copy(update={"is_best": row.id in best}) for row in shown])
