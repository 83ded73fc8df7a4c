"""Why a job cannot go on. Each class carries the failure code that the job will show."""


class TrainingError(Exception):
    """Root of the errors that end a job; `hint` says what to do."""

    code = "internal_error"

    def __init__(self, message: str, hint: str, step: int | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.step = step


class Diverged(TrainingError):
    """The loss, or a weight, is not a finite number any more."""

    code = "diverged"

    step: int

    def __init__(self, step: int, value: float, lr: float, what: str = "The training loss") -> None:
        super().__init__(
            f"{what} became {value} at step {step}.",
            f"Lower optimizer.lr (it was {lr:g}; try a tenth), choose a smaller init or, where there is none, "
            "add a norm. The metrics up to that step are kept.",
            step,
        )


class DataError(TrainingError):
    """The data is missing, unreadable, or not what the spec says."""

    code = "data_error"


class DeviceUnavailable(TrainingError):
    """The job asks for a device that the worker's machine does not have."""

    code = "device_unavailable"

    def __init__(self, device: str) -> None:
        super().__init__(
            f"This worker has no {device} device.",
            "Submit the job with device 'auto' or 'cpu', or start a worker on a machine that has one.",
        )
