"""Lists of jobs: which, in what order, and page by page."""

import base64
import json
import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from db.errors import InvalidCursor
from db.experiments import commands as experiments
from db.experiments.tables import Cell
from db.ids import is_id
from db.json_values import number_in, text_in
from db.status import Status
from db.tables import Job

#: Sides of a bound on a metric.
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The latest or the best value of a metric."""

    name: str
    is_best: bool = False

    def of_job(self) -> ColumnElement[float]:
        """NULL of a job without it, or where it is not finite."""
        return number_in(Job.best if self.is_best else Job.latest, self.name)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A limit of a metric; `side` is one of OPERATORS."""

    metric: Metric
    side: str
    value: float

    def holds(self) -> ColumnElement[bool]:
        """Of no job without a finite value."""
        result: ColumnElement[bool] = OPERATORS[self.side](self.metric.of_job(), sa.literal(self.value, sa.Double))
        return result


@dataclass(frozen=True, kw_only=True)
class Order:
    """By age or, with a metric, by its value; jobs without a finite value come last either way.

    Equal values follow each other by age, the newest first.
    """

    metric: Metric | None = None
    is_descending: bool = True


NEWEST_FIRST = Order()


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Which jobs a list holds: those for which all of it is true. Null for any."""

    status: Status | None = None
    norm: str | None = None
    architecture: str | None = None
    dataset: str | None = None
    experiment: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    metrics: tuple[Bound, ...] = ()

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """The same in SQL."""
        columns = {
            Job.status: self.status,
            Job.norm: self.norm,
            Job.architecture: self.architecture,
            Job.dataset: self.dataset,
        }
        yield from (column == value for column, value in columns.items() if value is not None)
        if self.experiment is not None:
            yield Job.id.in_(select(Cell.job_id).where(Cell.experiment_id == self.experiment))
        yield from (text_in(Job.labels, key) == value for key, value in self.labels)
        yield from (bound.holds() for bound in self.metrics)


def page(
    session: Session,
    where: JobFilter,
    limit: int,
    cursor: str | None = None,
    order: Order = NEWEST_FIRST,
) -> tuple[list[Job], str | None]:
    """Jobs in order, and the cursor of the next page if there is one.

    Pages go by key, not by offset: the hundredth costs what the first does.

    Raises:
        InvalidCursor: `cursor` is not of a page in this order.
        NotFound: there is no such experiment.
    """
    if where.experiment is not None:
        experiments.get(session, where.experiment)
    value = order.metric.of_job() if order.metric else sa.null()
    query = select(Job, value).where(*where.conditions()).order_by(*_keys(order)).limit(limit + 1)
    if cursor is not None:
        query = query.where(_is_beyond(order, *_decode(cursor, order)))
    rows = session.execute(query).all()
    jobs = [job for job, _ in rows[:limit]]
    if len(rows) <= limit:
        return jobs, None
    # The value as the database reads it: SQLite rounds some numbers otherwise than Python does.
    return jobs, _encode(order, rows[limit - 1][1], jobs[-1].id)


def _keys(order: Order) -> tuple[ColumnElement[Any], ...]:
    if order.metric is None:
        return (Job.id.desc() if order.is_descending else Job.id.asc(),)
    value = order.metric.of_job()
    return (value.desc() if order.is_descending else value.asc()).nulls_last(), Job.id.desc()


def _is_beyond(order: Order, value: float | None, job_id: str) -> ColumnElement[bool]:
    """Whether a job comes after the one with this id and this value of the metric."""
    if order.metric is None:
        return Job.id < job_id if order.is_descending else Job.id > job_id
    own, is_older = order.metric.of_job(), Job.id < job_id
    if value is None:
        return own.is_(None) & is_older
    last = sa.literal(value, sa.Double)
    further = own < last if order.is_descending else own > last
    return further | ((own == last) & is_older) | own.is_(None)


def _name(order: Order) -> list[Any]:
    return [order.is_descending, order.metric and [order.metric.is_best, order.metric.name]]


def _encode(order: Order, value: float | None, job_id: str) -> str:
    """By age the id alone; otherwise the order too, so that no cursor is taken for a place in another one."""
    if order.metric is None:
        return job_id
    data = json.dumps([_name(order), value, job_id], separators=(",", ":"))
    return base64.urlsafe_b64encode(data.encode()).decode().rstrip("=")


def _decode(cursor: str, order: Order) -> tuple[float | None, str]:
    """The reverse of `_encode`."""
    value: float | None = None
    job_id = cursor
    if order.metric is not None:
        try:
            name, value, job_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidCursor("cursor") from error
        is_number = type(value) is float and math.isfinite(value)
        if name != _name(order) or not (value is None or is_number) or not isinstance(job_id, str):
            raise InvalidCursor("cursor")
    if not is_id("job", job_id):
        raise InvalidCursor("cursor")
    return value, job_id
