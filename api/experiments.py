"""Experiments as requests: declared, refused with the place of what is wrong, asked to stop and to go on."""

from collections.abc import Sequence
from typing import Literal

from fastapi import Response
from sqlalchemy.orm import Session

from api.arms import expanded
from api.deps import Service
from api.idempotency import Once
from api.report.build import report
from api.report.page import to_html
from api.report.table import to_csv
from api.schemas.experiments import ExperimentOut
from db.experiments import commands, launch, reading
from db.experiments.commands import Command
from db.experiments.declaration import Declaration
from db.experiments.progress import progress
from db.experiments.submit import Submission, submit

Format = Literal["json", "csv", "html"]
MEDIA_TYPES: dict[str, Format] = {"application/json": "json", "text/csv": "csv", "text/html": "html"}
#: Messages that are sent at once; workers find the other jobs by themselves.
MOST_MESSAGES = 16


def create(service: Service, once: Once, declaration: Declaration) -> Response:
    """Store an experiment, or what it lacks, and queue its first jobs.

    Raises:
        ProblemError: 422, some arm has no valid spec, or the whole makes no sense.
        NormlabError: its name is taken, or it would have too many cells.
    """
    if (earlier := once.earlier(service.database)) is not None:
        return earlier
    expansion = expanded(service, declaration)
    queued: list[str] = []

    def make(session: Session) -> ExperimentOut:
        submission = submit(session, declaration, expansion)
        queued.extend(launch.launch(session, submission.experiment))
        return shown(session, submission)

    return once.create(
        service.database,
        make,
        at="/v1/experiments",
        status=lambda made: 201 if made.created else 200,
        then=lambda _: _send(service, queued),
    )


def shown(session: Session, submission: Submission) -> ExperimentOut:
    """What came of a submission."""
    made = ExperimentOut.of(submission.experiment, progress(session, submission.experiment))
    return made.model_copy(update={"created": submission.is_new, "added": submission.added})


def ask(service: Service, experiment_id: str, command: Command) -> tuple[ExperimentOut, bool]:
    """Carry out a command; returns what the experiment is then, and whether it was new.

    Raises:
        NormlabError: there is no such experiment, or it cannot do that now.
    """
    with service.database.write() as session:
        experiment = commands.get(session, experiment_id, keep=True)
        asked = command(session, experiment)
        session.flush()
        made = ExperimentOut.of(experiment, progress(session, experiment))
        made = made.model_copy(update={"retried": asked.retried})
    _send(service, asked.queued)
    return made, asked.is_new


def format_of(accept: str) -> Format:
    """The format that an `Accept` header asks for; JSON where it leaves the choice."""
    asked = [kind.partition(";")[0].strip() for kind in accept.split(",")]
    return next((MEDIA_TYPES[kind] for kind in asked if kind in MEDIA_TYPES), "json")


def read_report(service: Service, experiment_id: str, format: Format) -> Response:
    """The report in one of its formats.

    Raises:
        NormlabError: there is no such experiment.
    """
    with service.database.read() as session:
        subject = reading.subject(session, commands.get(session, experiment_id))
    made = report(subject)
    if format == "csv":
        return Response(to_csv(made), media_type="text/csv")
    if format == "html":
        return Response(to_html(made, subject), media_type="text/html")
    return Response(made.model_dump_json(), media_type="application/json")


def _send(service: Service, jobs: Sequence[str]) -> None:
    for job_id in jobs[:MOST_MESSAGES]:
        service.dispatcher.send(job_id)
