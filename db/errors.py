"""What the database and the store refuse. Each class carries a code and builds its own message."""


class NormlabError(Exception):
    """Root of the errors that a client may see."""

    code = "error"


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
    """A command that the job's status does not allow."""

    code = "transition_refused"

    def __init__(self, command: str, status: str, allowed: list[str]) -> None:
        super().__init__(f"A job that is {status} cannot {command}.")
        self.allowed = allowed


class NoModelYet(NormlabError):
    """A job without a checkpoint of the kind that was asked for."""

    code = "no_model_yet"

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"Job {job_id} is {status} and has no saved model.")


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
