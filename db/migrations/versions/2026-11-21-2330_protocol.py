"""Jobs that pause, resume and fork; exact checkpoints; logs, idempotency keys, workers; the law of transitions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# The types as they were at this revision: what the code says later does not change what was run.
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)

OLD_STATES = ("queued", "starting", "running", "cancelling", "succeeded", "failed", "cancelled")
STATES = ("queued", "starting", "running", "pausing", "paused", "cancelling", "succeeded", "failed", "cancelled")
OLD_FAILURES = (
    "diverged",
    "data_error",
    "invalid_spec",
    "out_of_memory",
    "device_unavailable",
    "worker_lost",
    "internal_error",
)
FAILURES = (
    "diverged",
    "data_error",
    "invalid_spec",
    "out_of_memory",
    "max_runtime",
    "device_unavailable",
    "storage_full",
    "storage_failed",
    "worker_lost",
    "internal_error",
)
TRANSITIONS = {
    "queued": ("starting", "cancelled"),
    "starting": ("running", "pausing", "cancelling", "queued", "failed"),
    "running": ("succeeded", "pausing", "cancelling", "queued", "failed"),
    "pausing": ("succeeded", "paused", "failed"),
    "paused": ("queued", "cancelled"),
    "cancelling": ("succeeded", "cancelled", "failed"),
    "failed": ("queued",),
    "cancelled": ("queued",),
}


def upgrade() -> None:
    _change_jobs(STATES, FAILURES, ("starting", "running", "pausing", "cancelling"), new_columns=True)
    with op.batch_alter_table("attempts") as attempts:
        attempts.add_column(sa.Column("first_step_at", TIME, nullable=True))
        attempts.alter_column("start_step", existing_type=sa.BigInteger(), nullable=True)
        attempts.drop_constraint(op.f("ck_attempts_positive"), type_="check")
        attempts.create_check_constraint(op.f("ck_attempts_positive"), "number >= 0 AND start_step >= 0")
    _add_to_checkpoints()
    _create_tables()
    _enact_the_law()


def downgrade() -> None:
    _repeal_the_law()
    for table in ("workers", "idempotency_keys", "logs"):
        op.drop_table(table)
    with op.batch_alter_table("checkpoints") as checkpoints:
        for name in ("epoch", "latest", "best", "score", "damaged_at", "is_resumable"):
            checkpoints.drop_column(name)
    # What the older version cannot hold: forks, whose attempt is numbered 0, and states that it does not know.
    op.execute("DELETE FROM jobs WHERE id IN (SELECT job_id FROM attempts WHERE number = 0)")
    op.execute("UPDATE attempts SET start_step = 0 WHERE start_step IS NULL")
    op.execute("UPDATE jobs SET status = 'cancelling' WHERE status = 'pausing'")
    op.execute(
        "UPDATE jobs SET status = 'cancelled', reason = 'cancelled', finished_at = created_at"
        " WHERE status = 'paused'"
    )
    op.execute(
        "UPDATE jobs SET failure_code = 'internal_error'"
        " WHERE failure_code IN ('max_runtime', 'storage_full', 'storage_failed')"
    )
    with op.batch_alter_table("attempts") as attempts:
        attempts.drop_column("first_step_at")
        attempts.alter_column("start_step", existing_type=sa.BigInteger(), nullable=False)
        attempts.drop_constraint(op.f("ck_attempts_positive"), type_="check")
        attempts.create_check_constraint(op.f("ck_attempts_positive"), "number > 0 AND start_step >= 0")
    _change_jobs(OLD_STATES, OLD_FAILURES, ("starting", "running", "cancelling"), new_columns=False)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


def _change_jobs(
    states: tuple[str, ...], failures: tuple[str, ...], live: tuple[str, ...], *, new_columns: bool
) -> None:
    with op.batch_alter_table("jobs") as jobs:
        for name in ("status", "failure_code", "live_has_lease"):
            jobs.drop_constraint(op.f(f"ck_jobs_{name}"), type_="check")
        jobs.create_check_constraint(op.f("ck_jobs_status"), _one_of("status", states))
        jobs.create_check_constraint(op.f("ck_jobs_failure_code"), _one_of("failure_code", failures))
        jobs.create_check_constraint(
            op.f("ck_jobs_live_has_lease"), f"({_one_of('status', live)}) = (lease_expires IS NOT NULL)"
        )
        if new_columns:
            jobs.add_column(sa.Column("spent_seconds", sa.Double(), nullable=True))
            jobs.add_column(sa.Column("event_seq", sa.Integer(), nullable=True))
            jobs.add_column(sa.Column("origin", JSON, nullable=True))
        else:
            jobs.drop_constraint(op.f("ck_jobs_counters"), type_="check")
            for name in ("spent_seconds", "event_seq", "origin"):
                jobs.drop_column(name)
    if new_columns:
        op.execute(
            "UPDATE jobs SET spent_seconds = 0,"
            " event_seq = (SELECT coalesce(max(seq), 0) FROM events WHERE events.job_id = jobs.id)"
        )
        with op.batch_alter_table("jobs") as jobs:
            jobs.alter_column("spent_seconds", existing_type=sa.Double(), nullable=False)
            jobs.alter_column("event_seq", existing_type=sa.Integer(), nullable=False)
            jobs.create_check_constraint(op.f("ck_jobs_counters"), "event_seq >= 0 AND spent_seconds >= 0")
    if _is_sqlite():
        # A table that is made anew loses the index that SQLite does not reflect.
        op.execute("DROP INDEX IF EXISTS ix_jobs_claim")
        op.execute("CREATE INDEX ix_jobs_claim ON jobs (priority DESC, run_at, id) WHERE status = 'queued'")


def _add_to_checkpoints() -> None:
    with op.batch_alter_table("checkpoints") as checkpoints:
        checkpoints.add_column(sa.Column("epoch", sa.BigInteger(), nullable=True))
        checkpoints.add_column(sa.Column("latest", JSON, nullable=True))
        checkpoints.add_column(sa.Column("best", JSON, nullable=True))
        checkpoints.add_column(sa.Column("score", sa.Double(), nullable=True))
        checkpoints.add_column(sa.Column("damaged_at", TIME, nullable=True))
        checkpoints.add_column(sa.Column("is_resumable", sa.Boolean(), nullable=True))
    # Older checkpoints lack what exact resumption needs; their models stay, and an attempt begins anew.
    op.execute("UPDATE checkpoints SET epoch = 0, latest = '{}', best = '{}', is_resumable = false")
    with op.batch_alter_table("checkpoints") as checkpoints:
        checkpoints.alter_column("epoch", existing_type=sa.BigInteger(), nullable=False)
        checkpoints.alter_column("is_resumable", existing_type=sa.Boolean(), nullable=False)
        for name in ("latest", "best"):
            checkpoints.alter_column(name, existing_type=JSON, nullable=False)


def _create_tables() -> None:
    op.create_table(
        "logs",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("stream", sa.String(32), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.CheckConstraint("seq > 0", name=op.f("ck_logs_seq_positive")),
        sa.CheckConstraint("stream IN ('stdout', 'stderr', 'warning')", name=op.f("ck_logs_stream")),
        sa.ForeignKeyConstraint(
            ["job_id", "attempt"],
            ["attempts.job_id", "attempts.number"],
            name=op.f("fk_logs_job_id_attempt_attempts"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job_id", "attempt", "seq", name=op.f("pk_logs")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("request_sha256", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("location", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "workers",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(), nullable=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.CheckConstraint("slots > 0", name=op.f("ck_workers_slots")),
        sa.CheckConstraint("status IN ('ready', 'draining')", name=op.f("ck_workers_status")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _enact_the_law() -> None:
    """No write moves a job as the table of transitions does not allow, nor takes an attempt number back."""
    legal = " OR ".join(
        f"(OLD.status = '{source}' AND {_one_of('NEW.status', targets)})"
        for source, targets in TRANSITIONS.items()
    )
    broken = f"(NEW.status <> OLD.status AND NOT ({legal})) OR NEW.attempt < OLD.attempt"
    if _is_sqlite():
        op.execute(
            f"CREATE TRIGGER tr_jobs_transition BEFORE UPDATE OF status, attempt ON jobs WHEN {broken} "
            "BEGIN SELECT RAISE(ABORT, 'no such transition of a job'); END"
        )
        return
    op.execute(
        f"CREATE FUNCTION check_job_transition() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {broken} THEN "
        "RAISE EXCEPTION 'no such transition of a job: % to %', OLD.status, NEW.status "
        "USING ERRCODE = 'check_violation'; END IF; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER tr_jobs_transition BEFORE UPDATE OF status, attempt ON jobs "
        "FOR EACH ROW EXECUTE FUNCTION check_job_transition()"
    )


def _repeal_the_law() -> None:
    op.execute("DROP TRIGGER tr_jobs_transition" if _is_sqlite() else "DROP TRIGGER tr_jobs_transition ON jobs")
    if not _is_sqlite():
        op.execute("DROP FUNCTION check_job_transition()")
