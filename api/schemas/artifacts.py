"""A job's files as clients see them."""

from typing import Any, Self

from api.schemas.base import Out, Timestamp
from db.status import ArtifactSource, ArtifactStatus, FailureCode
from db.tables import Artifact


class ArtifactFailure(Out):
    """Why a file could not be made, and what to do."""

    code: FailureCode
    """What went wrong; docs/jobs.md lists the codes."""
    message: str
    """The same in words."""
    hint: str
    """What to do."""


class ArtifactOut(Out):
    """A file, immutable once it is `ready`; its content is then at `/v1/artifacts/{id}/content`."""

    id: str
    """`art_...`."""
    job_id: str
    """The job that it belongs to."""
    checkpoint_id: str
    """The checkpoint that it belongs to; it goes when that goes."""
    source: ArtifactSource
    """What made it: the training, or work after the job."""
    status: ArtifactStatus
    """Whether it is there."""
    format: str
    """As `/model?format=` takes it: `safetensors`, `config`, `modeling`."""
    filename: str
    """The name that a download has."""
    media_type: str
    """Of its content."""
    step: int
    """Optimizer steps that are done in its checkpoint."""
    sha256: str | None
    """Of its content, in hex; null until it is ready."""
    size_bytes: int | None
    """Of its content; null until it is ready."""
    request: dict[str, Any] | None
    """Of work after the job: what was asked for. Null for a file of the training."""
    warnings: list[dict[str, Any]] | None
    """Of work after the job: what is to be said of the request. Null for a file of the training."""
    result: dict[str, Any] | None
    """Of work after the job: what came of it, metrics before and after. Null until it is ready."""
    failure: ArtifactFailure | None
    """Why it could not be made; null unless it is `failed`."""
    created_at: Timestamp
    """When it was asked for or saved."""
    finished_at: Timestamp | None
    """Of work after the job: when it was made or given up. Null until then, and for a file of the training."""


class ArtifactList(Out):
    """A job's files, the newest first."""

    data: list[ArtifactOut]
    """The files, the newest first."""
    next_cursor: None = None
    """Always null: the list is whole."""

    @classmethod
    def of(cls, artifacts: list[Artifact]) -> Self:
        """What a client sees of the rows."""
        return cls(data=[ArtifactOut.model_validate(row) for row in artifacts])
