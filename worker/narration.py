"""What an attempt says of itself in its log; free of torch."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from db.status import Status
from db.tables import Job

#: Lines about evaluations and checkpoints; the rest of the log is the job's own.
MOST_LINES = 1000


def say(text: str) -> None:
    """Write a line to standard output, which is the attempt's log in the process of a trainer."""
    # A log that nobody reads any more is no reason to fail.
    with suppress(OSError, ValueError):
        print(text, flush=True)  # noqa: T201


class Narrator:
    """Tells how an attempt gets on, up to a number of lines."""

    def __init__(self) -> None:
        self._left = MOST_LINES

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """An evaluation after a step: those on held-out data as they are, learning rate and speed."""
        told = [f"{name} {value:.4g}" for name, value in metrics.items() if name == "lr" or _is_plain(name)]
        if "samples_per_second" in metrics:
            told.append(f"{metrics['samples_per_second']:,.0f} samples/s")
        self._say(f"Step {step}: {', '.join(told)}.")

    def saved(self, step: int) -> None:
        """A checkpoint is committed."""
        self._say(f"The checkpoint of step {step} is saved.")

    def _say(self, text: str) -> None:
        self._left -= 1
        if self._left >= 0:
            say(text)
        elif self._left == -1:
            say("More evaluations and checkpoints are not told here: the metrics and the timeline have them.")


def _is_plain(name: str) -> bool:
    """Whether it is of the trained weights in eval mode: `test/loss` is, `test/precise/loss` is not."""
    data, _, rest = name.partition("/")
    return data in ("validation", "test") and "/" not in rest


def beginning(attempt: int, environment: Mapping[str, Any], step: int) -> str:
    """What an attempt runs on, and after which step it goes on."""
    threads = environment["threads"]
    return (
        f"Attempt {attempt} on {environment['device']} ({environment['device_name']}), "
        f"{threads} {'thread' if threads == 1 else 'threads'}, torch {environment['torch']}, "
        f"{environment['precision']}; {f'goes on after step {step}' if step else 'starts at the beginning'}."
    )


def ending(job: Job) -> str:
    """How an attempt has left its job."""
    match job.status:
        case Status.SUCCEEDED:
            return f"Succeeded: {job.reason}."
        case Status.FAILED:
            at = "" if job.failure_step is None else f" at step {job.failure_step}"
            return f"Failed: {job.failure_code}{at}: {job.failure_message}"
        case Status.PAUSED:
            return f"Stopped for a pause at step {job.step}."
        case Status.CANCELLED:
            return f"Stopped for a cancel at step {job.step}."
        case _:
            return f"Back in the queue after step {job.step}: {job.reason}."
