"""A job's attempts as clients see them."""

from typing import Self

from api.schemas.base import Out, Timestamp
from db.tables import Attempt


class AttemptOut(Out):
    """One worker's try at a job."""

    number: int
    """From 1, raised with each claim."""
    worker: str
    """Name of the worker, as `/v1/workers` has it."""
    start_step: int | None
    """Optimizer steps that were done when it began; null until it has read the checkpoint that it goes on from."""
    started_at: Timestamp
    """When the worker claimed the job."""
    first_step_at: Timestamp | None
    """When its first step was done; null if it has not come so far."""
    finished_at: Timestamp | None
    """When it ended; null while it goes on."""
    outcome: str | None
    """The reason of the change of status that ended it, `completed` say; null while it goes on."""
    seconds: float | None = None
    """How long it took; null while it goes on."""

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """What a client sees of a row."""
        ended = attempt.finished_at
        seconds = None if ended is None else (ended - attempt.started_at).total_seconds()
        return cls.model_validate(attempt).model_copy(update={"seconds": seconds})


class AttemptList(Out):
    """A job's attempts, in order."""

    data: list[AttemptOut]
    """The attempts, the first one first."""
    next_cursor: None = None
    """Always null: the list is whole."""
