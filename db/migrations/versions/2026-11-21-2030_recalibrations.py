"""Artifacts that are made after the job: a status, what was asked for, what came of it, and a lease."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Columns = dict[str, sa.types.TypeEngine[Any]]

# The types as they were at this revision: what the code says later does not change what was run.
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
FILE = ("store_key", "sha256", "size_bytes")
WORK: Columns = {
    "request": JSON,
    "warnings": JSON,
    "inputs_key": sa.String(),
    "result": JSON,
    "failure": JSON,
    "lease_expires": sa.DateTime(timezone=True),
    "finished_at": sa.DateTime(timezone=True),
}
STATE: Columns = {
    "source": sa.Enum("training", "recalibration", name="source", native_enum=False, length=32),
    "status": sa.Enum("pending", "ready", "failed", name="status", native_enum=False, length=32),
    "attempt": sa.Integer(),
    "lost_attempts": sa.Integer(),
}
#: Of rows that are there, and of no others: the code gives every value.
FIRST = {"source": "training", "status": "ready", "attempt": 0, "lost_attempts": 0}
CHECKS = {
    "source": "source IN ('training', 'recalibration')",
    "status": "status IN ('pending', 'ready', 'failed')",
    "ready_has_file": "(status = 'ready') = (store_key IS NOT NULL)",
    "whole_or_none": "(store_key IS NULL) = (sha256 IS NULL) AND (store_key IS NULL) = (size_bytes IS NULL)",
    "failed_has_failure": "(status = 'failed') = (failure IS NOT NULL)",
    "training_is_ready": "source <> 'training' OR status = 'ready'",
    "work_has_request": "(source = 'training') = (request IS NULL)",
    "ended_has_no_lease": "status = 'pending' OR lease_expires IS NULL",
    "ended_has_no_inputs": "status = 'pending' OR inputs_key IS NULL",
    "attempts": "attempt >= 0 AND lost_attempts >= 0 AND lost_attempts <= attempt",
}


def upgrade() -> None:
    with op.batch_alter_table("artifacts") as artifacts:
        for name, column_type in {**STATE, **WORK}.items():
            artifacts.add_column(sa.Column(name, column_type, nullable=True))
    op.execute(sa.table("artifacts", *map(sa.column, FIRST)).update().values(FIRST))
    with op.batch_alter_table("artifacts") as artifacts:
        for name in STATE:
            artifacts.alter_column(name, nullable=False)
        for name in FILE:
            artifacts.alter_column(name, nullable=True)
        for name, text in CHECKS.items():
            artifacts.create_check_constraint(op.f(f"ck_artifacts_{name}"), text)
    op.create_index("ix_artifacts_status_id", "artifacts", ["status", "id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_artifacts_status_id", "artifacts")
    op.execute("DELETE FROM artifacts WHERE source <> 'training'")
    with op.batch_alter_table("artifacts") as artifacts:
        for name in CHECKS:
            artifacts.drop_constraint(op.f(f"ck_artifacts_{name}"), type_="check")
        for name in FILE:
            artifacts.alter_column(name, nullable=False)
        for name in (*STATE, *WORK):
            artifacts.drop_column(name)
