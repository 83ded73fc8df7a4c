"""Logs as clients see them."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict

from db.attempt_logs import LogPage
from db.status import LogStream


class LogLineOut(BaseModel):
    """A line that the process of an attempt wrote; `seq` counts within the attempt."""

    model_config = ConfigDict(from_attributes=True)

    attempt: int
    seq: int
    stream: LogStream
    at: datetime
    text: str


class LogPageOut(BaseModel):
    """Lines by attempt and number. Read on with `after=next_cursor`, at once if there is `more`."""

    data: list[LogLineOut]
    next_cursor: str
    more: bool

    @classmethod
    def of(cls, page: LogPage) -> Self:
        """What a client sees of the page."""
        lines = [LogLineOut.model_validate(line) for line in page.lines]
        return cls(data=lines, next_cursor=page.cursor, more=page.more)
