"""Experiments: what was declared, its arms, and its cells with their jobs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    _create_experiments()
    _create_arms()
    _create_cells()


def downgrade() -> None:
    for table in ("cells", "experiment_arms", "studies", "experiments"):
        op.drop_table(table)


def _experiment_key(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_experiment_id_experiments")
    return sa.ForeignKeyConstraint(["experiment_id"], ["experiments.id"], name=name, ondelete="CASCADE")


def _create_experiments() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("wanted", sa.String(32), nullable=False),
        sa.Column("declaration", JSON, nullable=False),
        sa.Column("declared", sa.Integer(), nullable=False),
        sa.Column("excluded", sa.Integer(), nullable=False),
        sa.Column("equal", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("declared >= 0 AND excluded >= 0 AND equal >= 0", name=op.f("ck_experiments_counts")),
        sa.CheckConstraint("wanted IN ('run', 'pause', 'cancel')", name=op.f("ck_experiments_wanted")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
        sa.UniqueConstraint("key", name=op.f("uq_experiments_key")),
    )
    op.create_index("ix_experiments_wanted_id", "experiments", ["wanted", "id"], unique=False)


def _create_arms() -> None:
    op.create_table(
        "studies",
        sa.Column("experiment_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("coordinates", JSON, nullable=False),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("is_done", sa.Boolean(), nullable=False),
        sa.CheckConstraint("number >= 0", name=op.f("ck_studies_positive")),
        _experiment_key("studies"),
        sa.PrimaryKeyConstraint("experiment_id", "number", name=op.f("pk_studies")),
    )
    op.create_table(
        "experiment_arms",
        sa.Column("experiment_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("arm_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("coordinates", JSON, nullable=False),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("resolved", JSON, nullable=False),
        sa.Column("estimated_seconds", sa.Double(), nullable=False),
        sa.Column("study", sa.Integer(), nullable=True),
        sa.Column("trial", sa.Integer(), nullable=True),
        sa.Column("parameters", JSON, nullable=True),
        sa.CheckConstraint("number >= 0 AND estimated_seconds > 0", name=op.f("ck_experiment_arms_positive")),
        sa.CheckConstraint("(trial IS NULL) = (study IS NULL)", name=op.f("ck_experiment_arms_trial_of_study")),
        _experiment_key("experiment_arms"),
        sa.ForeignKeyConstraint(
            ["experiment_id", "study"],
            ["studies.experiment_id", "studies.number"],
            name=op.f("fk_experiment_arms_experiment_id_study_studies"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("experiment_id", "number", name=op.f("pk_experiment_arms")),
        sa.UniqueConstraint("experiment_id", "arm_id", name=op.f("uq_experiment_arms_experiment_id_arm_id")),
    )


def _create_cells() -> None:
    op.create_table(
        "cells",
        sa.Column("experiment_id", sa.String(), nullable=False),
        sa.Column("cell_id", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("arm", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("launched_at", TIME, nullable=True),
        sa.Column("is_reused", sa.Boolean(), nullable=False),
        sa.Column("refusal", sa.String(), nullable=True),
        sa.CheckConstraint("number >= 0 AND seed >= 0", name=op.f("ck_cells_positive")),
        sa.CheckConstraint("NOT is_reused OR launched_at IS NOT NULL", name=op.f("ck_cells_reused_is_launched")),
        sa.CheckConstraint(
            "refusal IS NULL OR launched_at IS NOT NULL", name=op.f("ck_cells_refused_is_launched")
        ),
        _experiment_key("cells"),
        sa.ForeignKeyConstraint(
            ["experiment_id", "arm"],
            ["experiment_arms.experiment_id", "experiment_arms.number"],
            name=op.f("fk_cells_experiment_id_arm_experiment_arms"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_cells_job_id_jobs"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("experiment_id", "cell_id", name=op.f("pk_cells")),
        sa.UniqueConstraint("experiment_id", "number", name=op.f("uq_cells_experiment_id_number")),
    )
    op.create_index("ix_cells_job_id", "cells", ["job_id"], unique=False)
    waiting = sa.text("launched_at IS NULL")
    op.create_index(
        "ix_cells_waiting",
        "cells",
        ["experiment_id", "number"],
        unique=False,
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
