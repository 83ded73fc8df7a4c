"""A job's timeline as clients see it."""

from typing import Any, Self

from api.schemas.base import Out, Timestamp
from db.events import EventType
from db.tables import Event


class EventOut(Out):
    """One line of a job's timeline."""

    seq: int
    """Number of the line in the job's timeline, from 1 and without gaps."""
    type: EventType | str
    """What happened; docs/jobs.md lists the types."""
    attempt: int
    """The attempt that it happened in, or that was the last by then; 0 before the first."""
    at: Timestamp
    """When, by the clock of the database."""
    data: dict[str, Any]
    """What is told with this type of line."""


class EventPage(Out):
    """Lines of the timeline in order; read on with `after=next_cursor`."""

    data: list[EventOut]
    """The lines, the oldest first."""
    next_cursor: int | None
    """The `seq` to read on after; null at the end of the timeline as it is now."""

    @classmethod
    def of(cls, events: list[Event], limit: int) -> Self:
        """A page of at most `limit` of the lines; one more says that there is a next page."""
        page = [EventOut.model_validate(event) for event in events[:limit]]
        return cls(data=page, next_cursor=page[-1].seq if len(events) > limit else None)
