"""Which installation a database is: what it finds elsewhere may belong to another one."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.ids import new_id
from db.service_tables import Installation


def identify(session: Session) -> str:
    """The database's own id, which it keeps for ever; made when it is first asked for.

    Needs a session that may write. Any number of processes may ask for the first time at once.
    """
    session.execute(
        sa.text("INSERT INTO installation (number, id) VALUES (1, :id) ON CONFLICT DO NOTHING"),
        {"id": new_id("inst")},
    )
    return session.scalars(sa.select(Installation.id)).one()
