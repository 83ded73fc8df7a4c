"""Where a reader of growing streams stands: opaque to clients, and aware of attempts that went back."""

import base64
import json
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.errors import InvalidCursor
from db.tables import Attempt

#: Beyond every step, and within the database's integers.
LAST_STEP = 2**62


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """The last step read of each stream, during one attempt."""

    attempt: int
    steps: dict[str, int]

    def encode(self) -> str:
        """The text that a client gives back."""
        data = json.dumps([self.attempt, self.steps], separators=(",", ":"), sort_keys=True)
        return base64.urlsafe_b64encode(data.encode()).decode().rstrip("=")

    @staticmethod
    def decode(text: str) -> "Cursor":
        """The reverse of `encode`.

        Raises:
            InvalidCursor: the text is not a cursor.
        """
        try:
            data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            attempt, steps = json.loads(data)
            numbers = [attempt, *steps.values()]
            if not all(type(number) is int and 0 <= number < LAST_STEP for number in numbers):
                raise InvalidCursor("after")
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise InvalidCursor("after") from error
        return Cursor(attempt=attempt, steps=steps)


def start(session: Session, job_id: str, text: str | None) -> tuple[Cursor, int | None]:
    """Where to read on, and the step that a newer attempt went back to if the reader is beyond it.

    Raises:
        InvalidCursor: the text is not a cursor.
    """
    started = (Attempt.job_id == job_id, Attempt.start_step.is_not(None))
    newest = session.scalar(select(func.max(Attempt.number)).where(*started)) or 0
    if text is None:
        return Cursor(attempt=newest, steps={}), None
    cursor = Cursor.decode(text)
    back = session.scalar(select(func.min(Attempt.start_step)).where(*started, Attempt.number > cursor.attempt))
    if back is None:
        return Cursor(attempt=newest, steps=cursor.steps), None
    rewound = any(step > back for step in cursor.steps.values())
    steps = {stream: min(step, back) for stream, step in cursor.steps.items()}
    return Cursor(attempt=newest, steps=steps), back if rewound else None
