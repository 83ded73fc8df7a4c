"""The tables of experiments: what was declared, its arms, and its cells with their jobs."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, text_enum
from db.experiments.status import Wanted


def _experiment_key() -> ForeignKey:
    return ForeignKey("experiments.id", ondelete="CASCADE")


class Experiment(Base):
    """One declared experiment. How far it is follows from its cells' jobs."""

    __tablename__ = "experiments"
    __table_args__ = (
        CheckConstraint("declared >= 0 AND excluded >= 0 AND equal >= 0", "counts"),
        Index("ix_experiments_wanted_id", "wanted", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    #: What it is found by when it is posted again.
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    #: What clients want of it.
    wanted: Mapped[Wanted] = mapped_column(text_enum(Wanted, "wanted"))
    #: The newest one; cells of those before stay.
    declaration: Mapped[dict[str, Any]]
    #: Cells of the newest declaration, how many it excludes, and how many are equal to another one.
    declared: Mapped[int]
    excluded: Mapped[int]
    equal: Mapped[int]
    created_at: Mapped[datetime]


class ExperimentArm(Base):
    """One setting: all of a cell but its seed."""

    __tablename__ = "experiment_arms"
    __table_args__ = (
        UniqueConstraint("experiment_id", "arm_id"),
        CheckConstraint("number >= 0 AND estimated_seconds > 0", "positive"),
        CheckConstraint("(trial IS NULL) = (study IS NULL)", "trial_of_study"),
        ForeignKeyConstraint(
            ["experiment_id", "study"], ["studies.experiment_id", "studies.number"], ondelete="CASCADE"
        ),
    )

    experiment_id: Mapped[str] = mapped_column(_experiment_key(), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: sha256 of the resolved spec without name, labels and seed.
    arm_id: Mapped[str] = mapped_column(sa.String(64))
    name: Mapped[str]
    #: What was chosen on each dimension.
    coordinates: Mapped[dict[str, Any]]
    #: As it is given to jobs, and with every default filled in; both without seed.
    spec: Mapped[dict[str, Any]]
    resolved: Mapped[dict[str, Any]]
    #: That a cell may take on a small CPU, as `db.costs` has it.
    estimated_seconds: Mapped[float]
    #: Of a search: which study chose it, in which trial, and its values as the sampler knows them.
    study: Mapped[int | None]
    trial: Mapped[int | None]
    parameters: Mapped[dict[str, Any] | None]


class Study(Base):
    """A search in one declared setting; its trials are arms."""

    __tablename__ = "studies"
    __table_args__ = (CheckConstraint("number >= 0", "positive"),)

    experiment_id: Mapped[str] = mapped_column(_experiment_key(), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    coordinates: Mapped[dict[str, Any]]
    #: Of every trial, without what the search sets.
    spec: Mapped[dict[str, Any]]
    #: No more trials are asked for: all were, or nothing new was found.
    is_done: Mapped[bool]


class Cell(Base):
    """An arm with a seed, and the job that it became."""

    __tablename__ = "cells"
    __table_args__ = (
        UniqueConstraint("experiment_id", "number"),
        CheckConstraint("number >= 0 AND seed >= 0", "positive"),
        CheckConstraint("NOT is_reused OR launched_at IS NOT NULL", "reused_is_launched"),
        CheckConstraint("refusal IS NULL OR launched_at IS NOT NULL", "refused_is_launched"),
        ForeignKeyConstraint(
            ["experiment_id", "arm"],
            ["experiment_arms.experiment_id", "experiment_arms.number"],
            ondelete="CASCADE",
        ),
        Index(
            "ix_cells_waiting",
            "experiment_id",
            "number",
            sqlite_where=sa.text("launched_at IS NULL"),
            postgresql_where=sa.text("launched_at IS NULL"),
        ),
    )

    experiment_id: Mapped[str] = mapped_column(_experiment_key(), primary_key=True)
    #: The spec_hash of its job.
    cell_id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    #: Cells become jobs in this order.
    number: Mapped[int]
    arm: Mapped[int]
    seed: Mapped[int] = mapped_column(sa.BigInteger)
    #: Null before the first launch, and once the job is deleted.
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    #: Null while it waits: for its job to be made or, where it has one, to be tried again.
    launched_at: Mapped[datetime | None]
    #: The job was there before.
    is_reused: Mapped[bool]
    #: Why no job could be made of it.
    refusal: Mapped[str | None]
