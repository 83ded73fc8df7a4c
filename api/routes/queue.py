"""What waits, in which order and for how long, and who works on it."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import ServiceDep
from api.schemas.queue import QueuePage, WorkerList
from api.strict import StrictRoute
from db import queue, workers

router = APIRouter(prefix="/v1", tags=["queue"], route_class=StrictRoute)


@router.get("/queue")
def read_queue(
    service: ServiceDep, limit: Annotated[int, Query(ge=1, le=queue.LONGEST, description="Jobs shown.")] = 100
) -> QueuePage:
    """The jobs that wait, in the order in which workers take them."""
    with service.database.read() as session:
        return QueuePage.of(queue.standing(session, limit), queue.counts(session))


@router.get("/workers")
def list_workers(service: ServiceDep) -> WorkerList:
    """The workers that are there, and those that were lost within a day."""
    with service.database.read() as session:
        return WorkerList.of(workers.states(session))
