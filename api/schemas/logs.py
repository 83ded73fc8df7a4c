"""Logs as clients see them."""

from typing import Self

from api.schemas.base import Out, Timestamp
from db.attempt_logs import LogPage
from db.status import LogStream


class LogLineOut(Out):
    """A line that the process of an attempt wrote."""

    attempt: int
    """The attempt that wrote it."""
    seq: int
    """Number of the line within the attempt, from 1."""
    stream: LogStream
    """Where it was written to; Python warnings have a stream of their own."""
    at: Timestamp
    """When it was read from the process, by the clock of the worker."""
    text: str
    """Without the line end; a long line is cut."""


class LogPageOut(Out):
    """Lines by attempt and number. Read on with `after=next_cursor`, at once if there is `more`."""

    data: list[LogLineOut]
    """Lines by attempt and number."""
    next_cursor: str
    """For `after`, to read on; it is there also when nothing is left."""
    more: bool
    """Whether there are more lines to read now."""

    @classmethod
    def of(cls, page: LogPage) -> Self:
        """What a client sees of the page."""
        lines = [LogLineOut.model_validate(line) for line in page.lines]
        return cls(data=lines, next_cursor=page.cursor, more=page.more)
