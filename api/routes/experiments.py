"""Experiments: declare, read, stop and go on."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response

from api import experiments
from api.deps import Limit, Service, ServiceDep
from api.experiments import Format
from api.idempotency import OnceDep
from api.report.schemas import Report
from api.schemas.experiments import CellOut, CellPage, ExperimentOut, ExperimentPage
from api.strict import StrictRoute
from db.experiments import commands, reading
from db.experiments.cells import check_arm
from db.experiments.commands import Command
from db.experiments.declaration import Declaration
from db.experiments.progress import progress
from db.experiments.status import CellStatus

ExperimentId = Annotated[str, Path(description="`exp_...`")]
Cursor = Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before.")]
REPEATED: dict[int | str, dict[str, Any]] = {
    200: {"description": "There was nothing to do.", "model": ExperimentOut}
}
REPORT: dict[int | str, dict[str, Any]] = {
    200: {"model": Report, "content": {"text/csv": {}, "text/html": {}}, "description": "In the form asked for."}
}
FOUND: dict[int | str, dict[str, Any]] = {
    200: {"description": "It was there already; what it lacked was added.", "model": ExperimentOut}
}

router = APIRouter(prefix="/v1/experiments", tags=["experiments"], route_class=StrictRoute)


@router.post("", status_code=201, response_model=ExperimentOut, responses=FOUND)
def create_experiment(declaration: Declaration, service: ServiceDep, once: OnceDep) -> Response:
    """Declare an experiment and begin it, or add what one of the same name lacks."""
    return experiments.create(service, once, declaration)


@router.get("")
def list_experiments(service: ServiceDep, limit: Limit = 20, cursor: Cursor = None) -> ExperimentPage:
    """Experiments, the newest first."""
    with service.database.read() as session:
        page, next_cursor = reading.page(session, limit, cursor)
        data = [ExperimentOut.of(each, progress(session, each)) for each in page]
        return ExperimentPage(data=data, next_cursor=next_cursor)


@router.get("/{experiment_id}")
def get_experiment(experiment_id: ExperimentId, service: ServiceDep) -> ExperimentOut:
    """One experiment and how far it is."""
    with service.database.read() as session:
        experiment = commands.get(session, experiment_id)
        return ExperimentOut.of(experiment, progress(session, experiment))


@router.get("/{experiment_id}/cells")
def list_cells(
    experiment_id: ExperimentId,
    service: ServiceDep,
    status: CellStatus | None = None,
    arm: Annotated[int | None, Query(ge=0, le=2**31 - 1, description="Number of an arm.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> CellPage:
    """Its cells, each with its status and its job."""
    with service.database.read() as session:
        experiment = commands.get(session, experiment_id)
        if arm is not None:
            check_arm(session, experiment_id, arm)
        selection = reading.selection(session, experiment)
        lines, next_cursor = reading.cells(session, experiment, status, arm, limit, cursor)
        data = [CellOut.of(line, selection) for line in lines]
        return CellPage(metric=selection.metric, data=data, next_cursor=next_cursor)


@router.get("/{experiment_id}/report", response_class=Response, responses=REPORT)
def read_report(
    experiment_id: ExperimentId,
    service: ServiceDep,
    format: Annotated[Format | None, Query(description="In place of `Accept`; JSON by default.")] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """What it came to so far, over seeds: JSON, CSV with a row for each arm, or a page of its own."""
    return experiments.read_report(service, experiment_id, format or experiments.format_of(accept))


@router.post("/{experiment_id}/pause", status_code=202, responses=REPEATED)
def pause_experiment(experiment_id: ExperimentId, response: Response, service: ServiceDep) -> ExperimentOut:
    """Start no more cells; running ones save their state and give up their slots."""
    return _ask(commands.pause, experiment_id, response, service)


@router.post("/{experiment_id}/resume", status_code=202, responses=REPEATED)
def resume_experiment(experiment_id: ExperimentId, response: Response, service: ServiceDep) -> ExperimentOut:
    """Go on with paused jobs exactly where they were, and with the cells that wait."""
    return _ask(commands.resume, experiment_id, response, service)


@router.post("/{experiment_id}/cancel", status_code=202, responses=REPEATED)
def cancel_experiment(experiment_id: ExperimentId, response: Response, service: ServiceDep) -> ExperimentOut:
    """Start no more cells and cancel the jobs that have not ended; posting the experiment again goes on."""
    return _ask(commands.cancel, experiment_id, response, service)


@router.post("/{experiment_id}/retry-failed", status_code=202, responses=REPEATED)
def retry_failed(experiment_id: ExperimentId, response: Response, service: ServiceDep) -> ExperimentOut:
    """Run the cells again that failed for what may be otherwise next time, were cancelled or lost their job.

    A run that diverged diverges again: it is a result, and stays. 200 where there is nothing to retry.
    """
    return _ask(commands.retry_failed, experiment_id, response, service)


def _ask(command: Command, experiment_id: str, response: Response, service: Service) -> ExperimentOut:
    shown, is_new = experiments.ask(service, experiment_id, command)
    response.status_code = 202 if is_new else 200
    return shown
