"""Which files of the store a row names; the others nobody will ask for."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.status import ArtifactStatus
from db.tables import Artifact, Checkpoint

#: Folders of the store: states and models by job, recalibrated models, inputs that wait, and tries of the store.
JOBS = "jobs"
FOLDERS = (JOBS, "recalibrations", "inputs", "checks")


def named(session: Session, keys: Sequence[str]) -> set[str]:
    """Those of the keys that are in use. Every query goes by an index, whatever the store and the tables hold."""
    files = select(Artifact.store_key).where(Artifact.store_key.in_(keys))
    inputs = select(Artifact.inputs_key).where(
        Artifact.status == ArtifactStatus.PENDING, Artifact.inputs_key.in_(keys)
    )
    states = select(Checkpoint.state_key).where(
        Checkpoint.job_id.in_(_jobs_of(keys)), Checkpoint.state_key.in_(keys)
    )
    return {key for query in (files, inputs, states) for key in session.scalars(query) if key is not None}


def _jobs_of(keys: Sequence[str]) -> set[str]:
    """The jobs whose folders the keys lie in: `jobs/<id>/...`."""
    return {key.split("/")[1] for key in keys if key.startswith(f"{JOBS}/")}
