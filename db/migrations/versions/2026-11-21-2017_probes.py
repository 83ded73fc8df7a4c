"""Chunks of what probes measure."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _allow("kind IN ('metrics', 'statistics', 'probes')")


def downgrade() -> None:
    op.execute("DELETE FROM chunks WHERE kind = 'probes'")
    _allow("kind IN ('metrics', 'statistics')")


def _allow(kinds: str) -> None:
    # In SQLite this makes the table anew.
    with op.batch_alter_table("chunks") as chunks:
        chunks.drop_constraint(op.f("ck_chunks_kind"), type_="check")
        chunks.create_check_constraint(op.f("ck_chunks_kind"), kinds)
