"""What an experiment may be asked for, and how far it is."""

from collections.abc import Mapping
from enum import StrEnum

from db.status import FINAL, LIVE, Status


class Wanted(StrEnum):
    """What clients want of an experiment."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


class CellStatus(StrEnum):
    """How far a cell is: the status of its job, or why it has none."""

    WAITING = "waiting"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: Its job was deleted.
    DELETED = "deleted"
    #: No job could be made of it: this version does not take its spec any more.
    REFUSED = "refused"


#: Statuses that a cell does not leave by itself.
ENDED = frozenset({*(CellStatus(status.value) for status in FINAL), CellStatus.DELETED, CellStatus.REFUSED})
#: Statuses of cells that something may still happen to while the experiment is paused.
_ACTIVE = frozenset(CellStatus(status.value) for status in (Status.QUEUED, *LIVE))


class ExperimentStatus(StrEnum):
    """How far an experiment is."""

    #: Cells wait, are queued, or run.
    RUNNING = "running"
    #: No cell is started any more; some still save their state.
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    #: Every cell has ended, in whichever way.
    COMPLETED = "completed"


def status_of(wanted: Wanted, cells: Mapping[CellStatus, int], *, is_searching: bool) -> ExperimentStatus:
    """How far an experiment is, by how many cells there are of each status."""
    present = {status for status, count in cells.items() if count}
    if wanted is Wanted.CANCEL:
        open_cells = present & (_ACTIVE | {CellStatus.PAUSED})
        return ExperimentStatus.CANCELLING if open_cells else ExperimentStatus.CANCELLED
    if present <= ENDED and not is_searching:
        return ExperimentStatus.COMPLETED
    if wanted is Wanted.PAUSE:
        return ExperimentStatus.PAUSING if present & _ACTIVE else ExperimentStatus.PAUSED
    return ExperimentStatus.RUNNING
