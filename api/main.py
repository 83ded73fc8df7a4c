"""The API application."""

from asyncio import Semaphore
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from api import errors, openapi
from api.deps import Service
from api.middleware import RequestContext
from api.problems import Problem
from api.routes import (
    artifacts,
    catalog,
    commands,
    diagnosis,
    experiments,
    forks,
    health,
    jobs,
    logs,
    metrics_query,
    probes,
    queue,
    recalibrations,
    records,
    stream,
)
from api.settings import ApiSettings
from api.watch import Watch
from db.engine import Database
from db.logs import set_up_logging
from db.store import Store
from worker.queue import Dispatcher, make_celery

#: That this process keeps open at a time.
MOST_STREAMS = 256

DESCRIPTION = """
Training as a service for neural networks, with normalization as a first-class thing: post a job, poll what
normalization did in train mode and in eval mode, download the trained model.
"""


def create_app(settings: ApiSettings | None = None) -> FastAPI:
    """The application on the settings of the environment, or on those given."""
    settings = settings or ApiSettings()
    set_up_logging()
    database = Database(settings.database_url)
    service = Service(
        database=database,
        store=Store(settings.store_url),
        dispatcher=Dispatcher(make_celery(settings), database),
        watch=Watch(database),
        streams=Semaphore(MOST_STREAMS),
        memory_limit_bytes=settings.memory_limit_bytes,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.watch.close()
        database.dispose()

    app = FastAPIOffline(
        title="normlab",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        responses={"4XX": {"model": Problem, "description": "A problem document (RFC 9457)."}},
    )
    app.state.service = service
    errors.install(app)
    app.add_middleware(
        RequestContext, max_body_bytes=settings.max_body_bytes, max_inputs_bytes=settings.max_inputs_bytes
    )
    for part in (
        jobs,
        stream,
        commands,
        forks,
        experiments,
        queue,
        records,
        metrics_query,
        logs,
        diagnosis,
        probes,
        recalibrations,
        artifacts,
        catalog,
        health,
    ):
        app.include_router(part.router)
    openapi.install(app)
    return app
