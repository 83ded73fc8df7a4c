"""What routes take: one service object for each process, made when the application is."""

from asyncio import Semaphore
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import Depends, Path, Query, Request

from api.watch import Watch
from db.cursor import LAST_STEP
from db.datasets import datasets
from db.engine import Database
from db.jobs import MOST_PRIORITY
from db.store import Store
from models.catalog.registry import architectures, norms
from worker.queue import Dispatcher


@dataclass(frozen=True, kw_only=True)
class Service:
    """The parts that requests work with."""

    database: Database
    store: Store
    dispatcher: Dispatcher
    watch: Watch
    #: Places for open streams.
    streams: Semaphore
    #: Most that one job may hold in memory.
    memory_limit_bytes: int


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]
JobId = Annotated[str, Path(description="`job_...`")]
ArtifactId = Annotated[str, Path(description="`art_...`")]
Limit = Annotated[int, Query(ge=1, le=100, description="Rows of a page.")]
Priority = Annotated[
    int, Query(ge=-MOST_PRIORITY, le=MOST_PRIORITY, description="Jobs of higher priority start first.")
]
Step = Annotated[int, Query(ge=0, le=LAST_STEP)]
MaxPoints = Annotated[
    int | None, Query(ge=1, le=10_000, description="Down-sample each series to at most so many points.")
]
AfterCursor = Annotated[str | None, Query(max_length=10_000, description="The cursor of an earlier answer.")]

if TYPE_CHECKING:
    NormName = str
    ArchitectureName = str
    DatasetName = str
else:
    # Known only at run time: installed packages add names.
    NormName = Literal[tuple(map(str, norms()))]
    ArchitectureName = Literal[tuple(map(str, architectures()))]
    DatasetName = Literal[tuple(map(str, datasets()))]
