"""The states of a job and the moves between them; the states of a file."""

from enum import StrEnum


class Status(StrEnum):
    """States of a job, as the API shows them."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: States in which a worker holds the job's lease.
LIVE = (Status.STARTING, Status.RUNNING, Status.CANCELLING)
#: States that a job does not leave by itself.
FINAL = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)
#: States from which a client may ask for each command.
CANCELLABLE = (Status.QUEUED, Status.STARTING, Status.RUNNING)


class FailureCode(StrEnum):
    """Why a job failed."""

    DIVERGED = "diverged"
    DATA_ERROR = "data_error"
    INVALID_SPEC = "invalid_spec"
    OUT_OF_MEMORY = "out_of_memory"
    DEVICE_UNAVAILABLE = "device_unavailable"
    WORKER_LOST = "worker_lost"
    INTERNAL_ERROR = "internal_error"


class ArtifactStatus(StrEnum):
    """Whether a file is there: work after a job makes it later than its row."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


class ArtifactSource(StrEnum):
    """What made a file: the training, or work after the job."""

    TRAINING = "training"
    RECALIBRATION = "recalibration"
