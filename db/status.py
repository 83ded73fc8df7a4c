"""The states of a job and the moves between them; the states of a file."""

from enum import StrEnum


class Status(StrEnum):
    """States of a job, as the API shows them."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: The law: where a job may go from each state. A trigger of the database holds every write to it.
TRANSITIONS: dict[Status, tuple[Status, ...]] = {
    Status.QUEUED: (Status.STARTING, Status.CANCELLED),
    Status.STARTING: (Status.RUNNING, Status.PAUSING, Status.CANCELLING, Status.QUEUED, Status.FAILED),
    Status.RUNNING: (Status.SUCCEEDED, Status.PAUSING, Status.CANCELLING, Status.QUEUED, Status.FAILED),
    Status.PAUSING: (Status.SUCCEEDED, Status.PAUSED, Status.FAILED),
    Status.PAUSED: (Status.QUEUED, Status.CANCELLED),
    Status.CANCELLING: (Status.SUCCEEDED, Status.CANCELLED, Status.FAILED),
    Status.SUCCEEDED: (),
    Status.FAILED: (Status.QUEUED,),
    Status.CANCELLED: (Status.QUEUED,),
}

#: States in which a worker holds the job's lease.
LIVE = (Status.STARTING, Status.RUNNING, Status.PAUSING, Status.CANCELLING)
#: States that a job does not leave by itself.
FINAL = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


def sources(to: Status) -> tuple[Status, ...]:
    """The states from which a job may go to `to`."""
    return tuple(status for status, targets in TRANSITIONS.items() if to in targets)


class FailureCode(StrEnum):
    """Why a job failed."""

    DIVERGED = "diverged"
    DATA_ERROR = "data_error"
    INVALID_SPEC = "invalid_spec"
    OUT_OF_MEMORY = "out_of_memory"
    MAX_RUNTIME = "max_runtime"
    DEVICE_UNAVAILABLE = "device_unavailable"
    STORAGE_FULL = "storage_full"
    STORAGE_FAILED = "storage_failed"
    WORKER_LOST = "worker_lost"
    INTERNAL_ERROR = "internal_error"


#: Failures that another try of the same job would only repeat: it fails at once.
REPEATS = frozenset(
    {
        FailureCode.DIVERGED,
        FailureCode.DATA_ERROR,
        FailureCode.INVALID_SPEC,
        FailureCode.OUT_OF_MEMORY,
        FailureCode.MAX_RUNTIME,
    }
)


#: Of these, what a person may mend: data that were missing, time that was too short.
MENDABLE = frozenset({FailureCode.DATA_ERROR, FailureCode.MAX_RUNTIME})


def is_retryable(code: FailureCode) -> bool:
    """Whether another try of the same job may end otherwise."""
    return code not in REPEATS or code in MENDABLE


class ArtifactStatus(StrEnum):
    """Whether a file is there: work after a job makes it later than its row."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


class ArtifactSource(StrEnum):
    """What made a file: the training, or work after the job."""

    TRAINING = "training"
    RECALIBRATION = "recalibration"


class LogStream(StrEnum):
    """Where a line of an attempt's log comes from."""

    STDOUT = "stdout"
    STDERR = "stderr"
    WARNING = "warning"


class WorkerStatus(StrEnum):
    """Whether a worker takes jobs; one that is not heard of for a while is lost, whatever it said last."""

    READY = "ready"
    DRAINING = "draining"
