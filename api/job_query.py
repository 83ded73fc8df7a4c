"""Which jobs a list should hold and in what order, as clients write it in a query."""

import re

from api.problems import FieldError, ProblemError
from db.job_lists import OPERATORS, Bound, Metric, Order

#: Conditions of one kind in one query.
MOST_CONDITIONS = 16

BEST = "best:"
_BOUND = re.compile(
    rf"(?P<metric>.+?)(?P<side>{'|'.join(OPERATORS)})(?P<value>[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]{{1,3}})?)",
    re.DOTALL | re.IGNORECASE,
)


def read_labels(text: str | None) -> tuple[tuple[str, str], ...]:
    """`a=1,b=2`.

    Raises:
        ProblemError: 422, something of it is no label.
    """
    labels = [part.partition("=") for part in _parts("label", text)]
    if not all(key and equals for key, equals, _ in labels):
        raise _refused("label", "A label is looked for by its key and its value.", "key=value,key=value")
    return tuple((key, value) for key, _, value in labels)


def read_bounds(text: str | None) -> tuple[Bound, ...]:
    """`test/accuracy>=0.9,best:test/loss<0.1`.

    Raises:
        ProblemError: 422, something of it is no bound on a metric.
    """
    return tuple(map(_bound, _parts("metric", text)))


def read_order(text: str) -> Order:
    """`created_at` or a metric, descending with a `-` before it.

    Raises:
        ProblemError: 422, it has no name.
    """
    _check("order", text)
    name = text.removeprefix("-")
    return Order(
        metric=None if name == "created_at" else _metric("order", name), is_descending=text.startswith("-")
    )


def _bound(text: str) -> Bound:
    found = _BOUND.fullmatch(text)
    value = float(found["value"]) if found else float("inf")
    if found is None or abs(value) == float("inf"):
        message = "A metric is compared with a number: >=, <=, > or < between them. In an address, + is %2B."
        raise _refused("metric", message, "name>=number,best:name<number")
    return Bound(metric=_metric("metric", found["metric"]), side=found["side"], value=value)


def _metric(parameter: str, text: str) -> Metric:
    name = text.removeprefix(BEST)
    if not name:
        raise _refused(parameter, "The name of a metric is missing.", "name, or best:name")
    return Metric(name=name, is_best=text.startswith(BEST))


def _parts(parameter: str, text: str | None) -> list[str]:
    if text is None:
        return []
    _check(parameter, text)
    parts = text.split(",")
    if len(parts) > MOST_CONDITIONS:
        raise _refused(parameter, "These are too many conditions.", f"at most {MOST_CONDITIONS}")
    return parts


def _check(parameter: str, text: str) -> None:
    if "\x00" in text:  # Postgres takes it in no text
        raise _refused(parameter, "The text holds a NUL.", "text without NUL")


def _refused(parameter: str, message: str, allowed: str) -> ProblemError:
    wrong = FieldError(pointer=f"?{parameter}", code=f"invalid_{parameter}", message=message, allowed=allowed)
    return ProblemError(422, "invalid_query", "The query is not valid", f"?{parameter}: {message}", errors=[wrong])
