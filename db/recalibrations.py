"""Recalibrations: models with population statistics, as they are asked for and as they are found."""

from dataclasses import asdict, dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import checkpoints, jobs
from db.base import now
from db.checkpoints import WEIGHTS_FILES, Weights
from db.errors import ArtifactPending, NotFound, NothingToRecalibrate, NotRecalibratedYet, TransitionRefused
from db.ids import new_id
from db.spec.job import JobSpec
from db.spec.recalibration import Recalibration, warnings, why_nothing_to_recalibrate
from db.status import FINAL, ArtifactSource, ArtifactStatus
from db.tables import Artifact, Checkpoint, Job

FORMAT = "safetensors"


@dataclass(frozen=True, kw_only=True)
class ClientInputs:
    """Where the inputs of a request wait in the store, and how many they are."""

    key: str
    samples: int


def check(session: Session, job: Job, spec: JobSpec, request: Recalibration) -> Artifact:
    """The file that the request would recalibrate; `spec` is the job's.

    Raises:
        TransitionRefused: the job has not ended, and may replace its checkpoints.
        NothingToRecalibrate: its network has no running averages.
        NoModelYet: it has no checkpoint.
        NoAveragedWeights: averages are asked for and it has none.
    """
    if job.status not in FINAL:
        raise TransitionRefused("be recalibrated", job.status.value, [status.value for status in FINAL])
    if why := why_nothing_to_recalibrate(spec):
        raise NothingToRecalibrate(str(spec.norm.name), why)
    return checkpoints.model(session, job, FORMAT, request.weights)


def create(session: Session, job_id: str, request: Recalibration, inputs: ClientInputs | None = None) -> Artifact:
    """A pending file of the job's newest checkpoint, for a worker to make.

    Raises:
        NotFound: there is no such job.
        NormlabError: as `check`.
    """
    jobs.get(session, job_id)
    # Kept until the commit, and before the checkpoint's row, in the order of a deletion: so none waits in a ring.
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is None:
        raise NotFound("job", job_id)
    spec = JobSpec.model_validate(job.resolved)
    original = check(session, job, spec, request)
    found = warnings(request, spec, step=original.step, inputs=inputs.samples if inputs else None)
    artifact = Artifact(
        id=new_id("art"),
        job_id=job_id,
        checkpoint_id=original.checkpoint_id,
        source=ArtifactSource.RECALIBRATION,
        status=ArtifactStatus.PENDING,
        format=FORMAT,
        filename=_filename(session, original),
        media_type=original.media_type,
        step=original.step,
        request=request.model_dump(mode="json"),
        warnings=[asdict(warning) for warning in found],
        inputs_key=inputs.key if inputs else None,
        attempt=0,
        lost_attempts=0,
        created_at=now(),
    )
    session.add(artifact)
    session.flush()
    session.refresh(artifact)
    return artifact


def _filename(session: Session, original: Artifact) -> str:
    """A name that no other file of the checkpoint has: `model-recalibrated-1.safetensors`."""
    # Two requests would take the same number; the checkpoint's row makes them wait for one another.
    session.execute(select(Checkpoint.id).where(Checkpoint.id == original.checkpoint_id).with_for_update())
    made = session.scalar(
        select(func.count(Artifact.id)).where(
            Artifact.checkpoint_id == original.checkpoint_id, Artifact.source == ArtifactSource.RECALIBRATION
        )
    )
    return f"model-recalibrated-{(made or 0) + 1}.{FORMAT}"


def original_of(session: Session, artifact: Artifact) -> Artifact:
    """The file that is recalibrated."""
    weights = (artifact.request or {})["weights"]
    return session.scalars(
        select(Artifact).where(
            Artifact.checkpoint_id == artifact.checkpoint_id,
            Artifact.source == ArtifactSource.TRAINING,
            Artifact.filename == WEIGHTS_FILES[weights],
        )
    ).one()


def precise_model(session: Session, job: Job, weights: Weights) -> Artifact:
    """The newest file of the newest checkpoint with population statistics of the training data.

    Files that were adapted to other data are had by their ids alone.

    Raises:
        NoModelYet: the job has no checkpoint.
        NoAveragedWeights: averages are asked for and it has none.
        ArtifactPending: there is none, but one is being made.
        NotRecalibratedYet: there is none.
    """
    original = checkpoints.model(session, job, FORMAT, weights)
    query = select(Artifact).where(
        Artifact.checkpoint_id == original.checkpoint_id,
        Artifact.source == ArtifactSource.RECALIBRATION,
        Artifact.status != ArtifactStatus.FAILED,
        Artifact.request["data"]["source"].as_string() == "train",
        Artifact.request["weights"].as_string() == weights,
    )
    wanted = session.scalars(query.order_by(Artifact.id.desc())).all()
    ready = next((artifact for artifact in wanted if artifact.status is ArtifactStatus.READY), None)
    if ready is not None:
        return ready
    raise ArtifactPending(wanted[0].id) if wanted else NotRecalibratedYet(job.id)
