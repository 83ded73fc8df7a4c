"""Why a trainer stops before its last step."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import Any, Protocol


class Stop(StrEnum):
    """What is wanted of a trainer that is to stop."""

    #: End the job; what was recorded is kept.
    CANCEL = "cancel"
    #: Save the state and let go of the job until a client wants it back.
    PAUSE = "pause"
    #: Save the state and hand the job back, because this worker ends.
    RELEASE = "release"
    #: Save the state and end the job: its time is used up.
    MAX_RUNTIME = "max_runtime"
    #: Nothing that this attempt would still write is taken: another holds the job, or its writes have failed.
    LOST = "lost"

    @property
    def keeps_state(self) -> bool:
        """Whether the run may go on later."""
        return self in (Stop.PAUSE, Stop.RELEASE, Stop.MAX_RUNTIME)


class Hooked(Protocol):
    """A `torch.nn.Module`; this module is free of torch, as the supervisor imports it."""

    def register_forward_pre_hook(self, hook: Callable[..., None]) -> Any: ...


#: Asked before each step.
Wanted = Callable[[], Stop | None]


class Interrupted(Exception):
    """An evaluation or a probe ends in the middle, because nothing of it is wanted any more."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.value)
        self.stop = stop


@contextmanager
def interruptible(models: Iterable[Hooked], wanted: Wanted) -> Iterator[None]:
    """End what is in the block before the next forward pass of a model, where no state is to be kept.

    An evaluation may take as long as thousands of steps. One that is followed by a checkpoint goes to its end:
    the state that is saved is that after it.

    Raises:
        Interrupted: `wanted` says so.
    """

    def look(*_: object) -> None:
        stop = wanted()
        if stop is not None and not stop.keeps_state:
            raise Interrupted(stop)

    with ExitStack() as hooks:
        for model in models:
            hooks.callback(model.register_forward_pre_hook(look).remove)
        yield
