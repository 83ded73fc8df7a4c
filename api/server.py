"""The HTTP server: one that tells the application before it stops."""

import asyncio
import signal
import socket
import sys
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI

from api.deps import Service
from api.main import create_app
from api.settings import ApiSettings

#: Seconds in which new connections are still taken while requests run, so that `/readyz` can say what happens.
DRAIN_SECONDS = 2.0
#: Seconds that requests have to finish.
STOP_SECONDS = 20


class Server(uvicorn.Server):
    """Ends streams and long polls first, then waits for the requests that run, then stops."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._service: Service = app.state.service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._service.watch.close()
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.server_state.tasks and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)


def make_server(settings: ApiSettings, *, access_log: bool = False) -> Server:
    """The server of a new application on these settings."""
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        access_log=access_log,
        log_level="warning",
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return Server(app, config)


def serve(settings: ApiSettings, *, access_log: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; the process then ends with code 0."""
    server = make_server(settings, access_log=access_log)
    # The server raises the signal again once it has stopped in order.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    server.run()


def _leave(_: int, __: FrameType | None) -> None:
    sys.exit(0)
