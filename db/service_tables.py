"""The tables of the service itself: requests that must not be answered twice, workers, and who it is."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, text_enum
from db.status import WorkerStatus


class IdempotencyKey(Base):
    """A request that created something, and the answer to give whenever it comes again."""

    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(primary_key=True)
    #: Over method, path, query and body.
    request_sha256: Mapped[str] = mapped_column(sa.String(64))
    status: Mapped[int]
    location: Mapped[str]
    body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(index=True)


class Worker(Base):
    """A worker process, as it last said of itself."""

    __tablename__ = "workers"
    __table_args__ = (CheckConstraint("slots > 0", "slots"),)

    #: host:pid:start
    name: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[WorkerStatus] = mapped_column(text_enum(WorkerStatus, "status"))
    #: Jobs at a time.
    slots: Mapped[int]
    device: Mapped[str | None]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class Installation(Base):
    """What tells this database from every other one: a single row."""

    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("number = 1", "one_row"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[str]
