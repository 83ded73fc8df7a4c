"""What the database and the store refuse. Each class carries a code and builds its own message."""

from typing import ClassVar


class NormlabError(Exception):
    """Root of the errors that a client may see."""

    code = "error"
    #: When it may be over; none where asking again does not help.
    retry_after_seconds: ClassVar[int | None] = None


class NotFound(NormlabError):
    """No such thing, or none that the client may see."""

    code = "not_found"

    def __init__(self, noun: str, id: str) -> None:
        super().__init__(f"There is no {noun} with the id {id[:100]!r}.")


class InvalidCursor(NormlabError):
    """A cursor that this service did not give."""

    code = "invalid_cursor"

    def __init__(self, parameter: str) -> None:
        super().__init__("The cursor is not one that an earlier answer gave.")
        self.parameter = parameter


class TransitionRefused(NormlabError):
    """A command that the status of a job or an experiment does not allow."""

    code = "transition_refused"

    def __init__(self, command: str, status: str, allowed: list[str], noun: str = "A job") -> None:
        verb = "has" if status in ("succeeded", "failed") else "is"
        super().__init__(f"{noun} that {verb} {status} cannot {command}.")
        self.allowed = allowed


class NoModelYet(NormlabError):
    """A job without a checkpoint of the kind that was asked for."""

    code = "no_model_yet"

    def __init__(self, job_id: str, status: str, which: str, steps: list[int]) -> None:
        has = f"has saved models of the steps {', '.join(map(str, steps))}" if steps else "has no saved model"
        wanted = "" if which == "last" else f", none that is {which}" if which == "best" else f", not of {which}"
        super().__init__(f"Job {job_id} is {status} and {has}{wanted}.")


class NoAveragedWeights(NormlabError):
    """A job that keeps no averages of its weights."""

    code = "no_averaged_weights"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"Job {job_id} keeps no averages of its weights: its spec has no `ema`.")


class FileMissing(NormlabError):
    """A file that the database knows and the store has no more."""

    code = "file_missing"

    def __init__(self, key: str) -> None:
        super().__init__("The file is no longer in the store. Train again, or have the store restored.")
        self.key = key


class AttemptSuperseded(NormlabError):
    """A write of an attempt that no longer holds the job."""

    code = "attempt_superseded"

    def __init__(self, job_id: str, attempt: int) -> None:
        super().__init__(f"Attempt {attempt} no longer holds job {job_id}.")


class WorkSuperseded(NormlabError):
    """A write of an attempt that no longer makes the file."""

    code = "work_superseded"

    def __init__(self, artifact_id: str, attempt: int) -> None:
        super().__init__(f"Attempt {attempt} no longer makes artifact {artifact_id}.")


class ArtifactPending(NormlabError):
    """A file that is still being made."""

    code = "artifact_pending"
    retry_after_seconds = 2

    def __init__(self, artifact_id: str) -> None:
        super().__init__(f"The file is still being made; GET /v1/artifacts/{artifact_id} says when it is ready.")


class ArtifactFailed(NormlabError):
    """A file that could not be made."""

    code = "artifact_failed"

    def __init__(self, artifact_id: str) -> None:
        super().__init__(f"The file could not be made; GET /v1/artifacts/{artifact_id} says why and what to do.")


class NothingToRecalibrate(NormlabError):
    """A job whose network keeps no running averages that could be estimated anew."""

    code = "nothing_to_recalibrate"

    def __init__(self, norm: str, why: str) -> None:
        super().__init__(f"Norm {norm!r} of this job {why}, so there is nothing to recalibrate.")


class NotRecalibratedYet(NormlabError):
    """A job whose newest checkpoint has no population statistics yet."""

    code = "not_recalibrated_yet"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            "The newest checkpoint has no file with population statistics of the training data. "
            f"POST /v1/jobs/{job_id}/recalibrate makes one."
        )


class FileDamaged(NormlabError):
    """A file whose size or sha256 is not what was written."""

    code = "file_damaged"

    def __init__(self, key: str) -> None:
        super().__init__("The file in the store is not what was saved. Train again, or have the store restored.")
        self.key = key


class StorageFull(NormlabError):
    """No room for a file: the disk, a quota, or the largest file that the process may write."""

    code = "storage_full"
    retry_after_seconds = 60

    def __init__(self, needed_bytes: int, free_bytes: int | None) -> None:
        free = "" if free_bytes is None else f": {free_bytes} bytes are free"
        super().__init__(
            f"The store has no room for a file of {needed_bytes} bytes{free}. "
            "Free some space, or raise the quota or the limit on the size of files."
        )
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class StorageFailed(NormlabError):
    """The store cannot be written or read."""

    code = "storage_failed"
    retry_after_seconds = 60

    def __init__(self, reason: str) -> None:
        super().__init__(f"The store cannot be used: {reason}. The service's log has more.")
