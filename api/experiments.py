"""Experiments as requests: declared, refused with the place of what is wrong, asked to stop and to go on."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Literal

from fastapi import Response
from pydantic import ValidationError
from sqlalchemy.orm import Session

from api.deps import Service
from api.idempotency import Once
from api.limits import check_memory
from api.problems import FieldError, ProblemError, suggest
from api.report.build import report
from api.report.page import to_html
from api.report.table import to_csv
from api.schemas.experiments import ExperimentOut
from api.validation import field_errors
from db.experiments import commands, launch, reading
from db.experiments.arms import Expansion, InvalidArms, Refused, Setting, expand
from db.experiments.commands import Command
from db.experiments.declaration import Declaration
from db.experiments.progress import progress
from db.experiments.submit import Submission, submit
from db.spec.job import JobSpec

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
    expansion = _expanded(service, declaration)
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


def _expanded(service: Service, declaration: Declaration) -> Expansion:
    def check(spec: JobSpec) -> None:
        check_memory(spec, service.memory_limit_bytes)

    try:
        return expand(declaration, check)
    except InvalidArms as error:
        raise _invalid(declaration, error) from error
    except Refused as error:
        near = suggest(error.given, error.allowed) if isinstance(error.allowed, list) else None
        wrong = FieldError(
            pointer=error.pointer, code=error.code, message=error.message, allowed=error.allowed, suggestion=near
        )
        raise _problem([wrong]) from error


def _problem(wrong: list[FieldError]) -> ProblemError:
    detail = f"{wrong[0].pointer}: {wrong[0].message}"
    return ProblemError(422, "invalid_experiment", "The experiment is not valid", detail, errors=wrong)


def _invalid(declaration: Declaration, error: InvalidArms) -> ProblemError:
    found = {
        (wrong.pointer, wrong.code): wrong
        for setting, each in error.wrong
        for wrong in _errors_of(declaration, setting, each)
    }
    return _problem(list(found.values()))


def _errors_of(declaration: Declaration, setting: Setting, error: ValidationError) -> Iterator[FieldError]:
    """What is wrong with an arm, at the places of the declaration that it comes from."""
    found = error.errors(include_url=False)
    # A rule that joins several fields: each value may be right elsewhere.
    joint = {each["type"] for each in found if "pointer" in each.get("ctx", {})}
    located = [{**each, "loc": ("body", *each["loc"])} for each in found]
    for wrong in field_errors(located, _job_schema()):
        source = _source(declaration, setting, wrong.pointer)
        is_choice = wrong.code in joint and not source.startswith("/base")
        message = f"{wrong.message.removesuffix('.')}. Or exclude the combination." if is_choice else wrong.message
        yield wrong.model_copy(update={"pointer": source, "message": message})


@cache
def _job_schema() -> dict[str, Any]:
    return JobSpec.model_json_schema()


def _source(declaration: Declaration, setting: Setting, pointer: str) -> str:
    """The place in the declaration of a place in a spec."""
    set_by = {f"/{path.replace('.', '/')}": path for path in setting.values}
    inside = [place for place in set_by if f"{pointer}/".startswith(f"{place}/")]
    if not inside:
        first = pointer[1:].partition("/")[0]
        return f"/base{_written(declaration.base.get(first), pointer)}"
    place = max(inside, key=len)
    path = set_by[place]
    rest = _written(setting.values[path], pointer.removeprefix(place))
    if declaration.search is not None and path in declaration.search.space:
        place = setting.searched.get(path, next(iter(declaration.search.space[path].places())))
        return f"/search/space/{path}/{place}{rest}"
    if path in setting.positions:
        return f"/axes/{path}/{setting.positions[path]}{rest}"
    return f"/arms/{setting.arm}/set/{path}{rest}"


def _written(value: object, pointer: str) -> str:
    """The pointer as far as the client wrote it: a bare text stands for the part of that name."""
    return pointer.removesuffix("/name") if isinstance(value, str) else pointer
