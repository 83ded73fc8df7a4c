"""The arms of a declared experiment, and what is wrong with them at the places where it was written."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import ValidationError

from api.deps import Service
from api.limits import check_memory
from api.problems import FieldError, ProblemError, suggest
from api.validation import field_errors
from db.experiments.arms import Expansion, InvalidArms, Refused, Setting, expand
from db.experiments.declaration import Declaration
from db.experiments.fields import fields
from db.experiments.paths import value_at, with_values
from db.spec.job import JobSpec


def expanded(service: Service, declaration: Declaration) -> Expansion:
    """The arms of a declaration that a job of this service can run.

    Raises:
        ProblemError: 422, some arm has no valid spec, or the whole makes no sense.
    """

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
        if wrong.code == "extra_forbidden" and (path := _path_at(setting, wrong.pointer)) is not None:
            yield _not_here(declaration, setting, path)
            continue
        source = _source(declaration, setting, wrong.pointer)
        is_choice = wrong.code in joint and not source.startswith(("/base", "/search"))
        message = f"{wrong.message.removesuffix('.')}. Or exclude the combination." if is_choice else wrong.message
        yield wrong.model_copy(update={"pointer": source, "message": message})


def _path_at(setting: Setting, pointer: str) -> str | None:
    """The path of the setting that leads just to a place in its spec."""
    path = pointer[1:].replace("/", ".")
    return path if path in setting.values else None


def _not_here(declaration: Declaration, setting: Setting, path: str) -> FieldError:
    """A field that some parts of the kind have, and the one that is chosen here does not, whatever its value."""
    part, _, field = path.rpartition(".")
    chosen = value_at(with_values(declaration.base, setting.values), f"{part}.name")
    return FieldError(
        pointer=_place(declaration, setting, path),
        code="not_of_this_part",
        message=f"Here {part} is {chosen!r}, which has no {field!r}. Set it only where {part} is one that has it: "
        f"{', '.join(sorted(fields()[path]))}.",
    )


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
    which = ""
    if declaration.search is not None and path in declaration.search.space:
        which = f"/{setting.searched.get(path, next(iter(declaration.search.space[path].places())))}"
    elif path in setting.positions:
        which = f"/{setting.positions[path]}"
    return f"{_place(declaration, setting, path)}{which}{rest}"


def _place(declaration: Declaration, setting: Setting, path: str) -> str:
    """The place in the declaration that sets a path."""
    if declaration.search is not None and path in declaration.search.space:
        return f"/search/space/{path}"
    return f"/axes/{path}" if path in setting.positions else f"/arms/{setting.arm}/set/{path}"


def _written(value: object, pointer: str) -> str:
    """The pointer as far as the client wrote it: a bare text stands for the part of that name."""
    return pointer.removesuffix("/name") if isinstance(value, str) else pointer
