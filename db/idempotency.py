"""Keys of clients that make it safe to send a creating request again: the answer of the first is kept for a day.

The key is taken in the transaction that creates. So of many at a time one creates, and the others wait for its
commit: Postgres makes them wait for the row, SQLite for its one write lock.
"""

from dataclasses import dataclass

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from db.base import now
from db.errors import NormlabError
from db.service_tables import IdempotencyKey

#: Seconds for which an answer is kept.
LIFETIME = 24 * 3600.0
#: Milliseconds that a request waits for an earlier one with its key, on Postgres.
PATIENCE_MS = 5000
#: Postgres' `lock_not_available`: the patience is over.
LOCK_TIMEOUT = "55P03"


class IdempotencyKeyReused(NormlabError):
    """A key that another request has."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(
            "An earlier request with this Idempotency-Key had another method, path, query or body. "
            "Send a key of its own with every new request."
        )


class IdempotencyKeyInUse(NormlabError):
    """A key whose first request is still running."""

    code = "idempotency_key_in_use"
    retry_after_seconds = 1

    def __init__(self) -> None:
        super().__init__(
            "An earlier request with this Idempotency-Key is still running. Send this one again soon."
        )


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the request that created something was answered."""

    status: int
    location: str
    body: str


def find(session: Session, key: str, request_sha256: str) -> Answer | None:
    """The answer that the key has, if it was used within the last day.

    Raises:
        IdempotencyKeyReused: it was used for another request.
    """
    query = select(IdempotencyKey).where(IdempotencyKey.key == key, IdempotencyKey.created_at >= now(-LIFETIME))
    row = session.scalars(query).one_or_none()
    if row is None:
        return None
    if row.request_sha256 != request_sha256:
        raise IdempotencyKeyReused
    return Answer(status=row.status, location=row.location, body=row.body)


def claim(session: Session, key: str, request_sha256: str) -> Answer | None:
    """Take the key for what this transaction creates, to `fill` it in; or the answer of the request that has it.

    Raises:
        IdempotencyKeyReused: it was used for another request.
        IdempotencyKeyInUse: the request that has it is still running.
    """
    try:
        with session.begin_nested():
            _take(session, key, request_sha256)
    except IntegrityError:
        answer = find(session, key, request_sha256)
        if answer is None:  # the row was just old enough to be removed
            raise IdempotencyKeyInUse from None
        return answer
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == LOCK_TIMEOUT:
            raise IdempotencyKeyInUse from error
        raise
    return None


def _take(session: Session, key: str, request_sha256: str) -> None:
    if session.get_bind().dialect.name == "postgresql":
        # For the rest of the transaction: it is to be short, and others wait for it.
        session.execute(text(f"SET LOCAL lock_timeout = {PATIENCE_MS}"))
    expired = IdempotencyKey.created_at < now(-LIFETIME)
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.key == key, expired))
    row = {"key": key, "request_sha256": request_sha256, "status": 0, "location": "", "body": ""}
    session.execute(insert(IdempotencyKey).values(**row, created_at=now()))


def fill(session: Session, key: str, answer: Answer) -> None:
    """Keep the answer with the key that this transaction has taken."""
    values = {"status": answer.status, "location": answer.location, "body": answer.body}
    session.execute(update(IdempotencyKey).where(IdempotencyKey.key == key).values(**values))


def purge(session: Session) -> None:
    """Forget the answers that are older than a day."""
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < now(-LIFETIME)))
