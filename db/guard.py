"""Changes of a job that hold only while it is as expected."""

from typing import Any

from sqlalchemy import ColumnElement, update
from sqlalchemy.orm import Session

from db.tables import Job


def guarded_update(session: Session, *where: ColumnElement[bool], **values: Any) -> bool:
    """Change the one job that fits `where`; false if none does."""
    statement = update(Job).where(*where).values(**values).returning(Job.id)
    return session.execute(statement.execution_options(synchronize_session=False)).first() is not None
