"""Whether the process lives, and whether it can do its work."""

import logging
from collections.abc import Callable

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.deps import Service, ServiceDep
from api.strict import StrictRoute
from db import migrate

log = logging.getLogger(__name__)

router = APIRouter(tags=["health"], route_class=StrictRoute)


class Health(BaseModel):
    """`ok`, or what is not."""

    status: str
    checks: dict[str, str] = {}


@router.get("/healthz")
def healthz() -> Health:
    """The process answers."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Health}})
def readyz(response: Response, service: ServiceDep) -> Health:
    """Database, migrations, store and broker can be reached, and the process is not about to stop."""
    parts = {
        "database": lambda: _check_schema(service),
        "store": service.store.check,
        "broker": service.dispatcher.check,
    }
    checks = {name: _outcome(name, check) for name, check in parts.items()}
    if service.watch.closing:
        checks["process"] = "stopping"
    ready = all(outcome == "ok" for outcome in checks.values())
    response.status_code = 200 if ready else 503
    return Health(status="ok" if ready else "unavailable", checks=checks)


def _check_schema(service: Service) -> None:
    if not migrate.is_current(service.database):
        raise RuntimeError("run `normlab-server migrate`")


def _outcome(name: str, check: Callable[[], object]) -> str:
    try:
        check()
    except Exception as error:  # whatever a part raises, it is not ready; the log says more than the client sees
        log.warning("Not ready: %s.", name, exc_info=True)
        return type(error).__name__
    return "ok"
