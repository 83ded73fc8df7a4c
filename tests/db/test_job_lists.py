"""Which jobs a list holds, in what order, and that its pages fit together."""

import base64
import json
from itertools import chain
from typing import Any

import pytest
import sqlalchemy as sa

from db import job_lists
from db.base import Base, now
from db.errors import InvalidCursor, NotFound
from db.experiments.status import Wanted
from db.experiments.tables import Cell, Experiment, ExperimentArm
from db.ids import new_id
from db.job_lists import NEWEST_FIRST, OPERATORS, Bound, JobFilter, Metric, Order
from db.status import Status
from db.tables import Job
from tests.db.support import change_job, claim, new_job

ANY = JobFilter()
#: What jobs may have for a loss: equal ones, both zeros, ends of the range, one that decimal parsers round
#: otherwise than they should, and what is no number.
LOSSES = [
    0.5, 0.1, 0.5, -0.0, 0.0, 1e308, -1e308, 5e-324, 0.30000000000000004, 9007199254740993.0, 2, -3,
    "NaN", "Infinity", "-Infinity", None, None,
]  # fmt: skip
#: Names that would be something else in a path, a pattern or a statement.
NAMES = [
    'a"b', "a'b", "a.b", "$", "$.a", "[0]", "0", "a\\b", "%", "%s", "%(x)s", ":x", "?", "ü", "\U0001f600", " ", "",
    "a" * 500, "'); DROP TABLE jobs; --", "null", "value", "a\nb",
]  # fmt: skip


def point(value: object) -> dict[str, Any]:
    return {"value": value, "step": 1}


def make_losses(database, losses=LOSSES) -> dict[str, object]:
    """The loss of each new job, the newest first."""
    made = {}
    for loss in losses:
        job_id = new_job(database)
        if loss is not None:
            change_job(database, job_id, latest={"loss": point(loss)}, best={"loss": point("NaN")})
        made[job_id] = loss
    return dict(reversed(made.items()))


def is_number(value: object) -> bool:
    return isinstance(value, int | float)


def walk(database, where: JobFilter = ANY, limit: int = 10, order: Order = NEWEST_FIRST) -> list[list[str]]:
    """The ids of each page to the end."""
    pages, cursor = [], None
    while cursor is not None or not pages:
        assert len(pages) < 50, "pages without an end"
        with database.read() as session:
            page, cursor = job_lists.page(session, where, limit, cursor, order)
            pages.append([job.id for job in page])
    return pages


def make_25(database) -> list[str]:
    """25 jobs, the newest first; every third without a norm, the oldest claimed."""
    ids = [new_job(database, **({"norm": {"name": "none"}} if number % 3 == 0 else {})) for number in range(25)]
    claim(database)
    return ids[::-1]


def test_pages_hold_every_job_once_from_the_newest_on(database):
    ids = make_25(database)
    pages = walk(database, ANY)
    assert [len(page) for page in pages] == [10, 10, 5]
    assert list(chain(*pages)) == ids
    assert [len(page) for page in walk(database, ANY, limit=25)] == [25]


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        (JobFilter(norm="batch"), lambda job: job.norm == "batch"),
        (JobFilter(norm="none"), lambda job: job.norm == "none"),
        (JobFilter(status=Status.QUEUED), lambda job: job.status == Status.QUEUED),
        (JobFilter(status=Status.STARTING), lambda job: job.status == Status.STARTING),
        (JobFilter(norm="none", status=Status.QUEUED), lambda job: (job.norm, job.status) == ("none", "queued")),
        (JobFilter(architecture="mlp"), lambda job: True),
        (JobFilter(architecture="cnn"), lambda job: False),
        (JobFilter(dataset="digits"), lambda job: True),
        (JobFilter(dataset="mnist"), lambda job: False),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_filtered_pages_hold_exactly_the_jobs_that_fit(database, where, wanted):
    make_25(database)
    with database.read() as session:
        expected = [job.id for job in session.scalars(sa.select(Job).order_by(Job.id.desc())) if wanted(job)]
    pages = walk(database, where, limit=4)
    assert list(chain(*pages)) == expected
    assert all(len(page) == 4 for page in pages[:-1])


def test_a_job_that_comes_while_one_pages_is_not_shown_and_moves_nothing(database):
    ids = make_25(database)
    with database.read() as session:
        first, cursor = job_lists.page(session, ANY, 10, None)
    new_job(database)
    with database.read() as session:
        second, _ = job_lists.page(session, ANY, 10, cursor)
    assert [job.id for job in first + second] == ids[:20]


@pytest.mark.parametrize("cursor", ["", "nonsense", "art_0198", "JOB_1", " job_1", "25", "job_\x00"])
def test_a_cursor_that_is_no_jobs_id_is_refused(database, cursor):
    new_job(database)
    with database.read() as session, pytest.raises(InvalidCursor):
        job_lists.page(session, ANY, 10, cursor)


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize("is_descending", [True, False])
def test_by_a_metric_every_job_comes_once_and_those_without_a_number_last(database, limit, is_descending):
    losses = make_losses(database)
    known = [job_id for job_id, loss in losses.items() if is_number(loss)]
    wanted = sorted(known, key=losses.__getitem__, reverse=is_descending)  # equal ones stay in their order
    rest = [job_id for job_id, loss in losses.items() if not is_number(loss)]
    order = Order(metric=Metric(name="loss"), is_descending=is_descending)
    pages = walk(database, limit=limit, order=order)
    assert list(chain(*pages)) == wanted + rest
    assert all(len(page) == limit for page in pages[:-1])


def test_from_the_oldest_on(database):
    ids = make_25(database)
    pages = walk(database, order=Order(is_descending=False))
    assert [len(page) for page in pages] == [10, 10, 5]
    assert list(chain(*pages)) == ids[::-1]


def test_the_best_value_is_another_than_the_latest(database):
    first, second = new_job(database), new_job(database)
    change_job(database, first, latest={"a": point(1.0)}, best={"a": point(0.1)})
    change_job(database, second, latest={"a": point(0.5)}, best={"a": point(0.2)})

    def ordered(is_best: bool) -> list[str]:
        order = Order(metric=Metric(name="a", is_best=is_best), is_descending=False)
        return walk(database, order=order)[0]

    assert (ordered(False), ordered(True)) == ([second, first], [first, second])
    below = Bound(metric=Metric(name="a", is_best=True), side="<", value=0.15)
    assert walk(database, JobFilter(metrics=(below,))) == [[first]]


@pytest.mark.parametrize("side", OPERATORS)
@pytest.mark.parametrize("value", [0.5, 0.0, 0.1, -1e308, 1e308])
def test_a_bound_fits_finite_values_alone(database, side, value):
    losses = make_losses(database)
    wanted = [job_id for job_id, loss in losses.items() if is_number(loss) and OPERATORS[side](loss, value)]
    bound = Bound(metric=Metric(name="loss"), side=side, value=value)
    assert walk(database, JobFilter(metrics=(bound,)), limit=100) == [wanted]


def test_all_bounds_and_labels_must_hold(database):
    ids = []
    for number in range(4):
        ids.append(new_job(database, labels={"team": "a" if number % 2 else "b", "run": str(number)}))
        change_job(database, ids[-1], latest={"x": point(number), "y": point(-number)})
    more, less = (Bound(metric=Metric(name=name), side=">=", value=v) for name, v in (("x", 1.0), ("y", -2.0)))
    assert walk(database, JobFilter(metrics=(more, less))) == [[ids[2], ids[1]]]
    assert walk(database, JobFilter(metrics=(more, less), labels=(("team", "a"),))) == [[ids[1]]]
    assert walk(database, JobFilter(labels=(("team", "a"), ("run", "3")))) == [[ids[3]]]
    assert walk(database, JobFilter(labels=(("team", "a"), ("run", "2")))) == [[]]
    assert walk(database, JobFilter(labels=(("team", ""),))) == [[]]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_finds_its_own_metric_and_label_alone(database, name):
    plain, named = new_job(database), new_job(database)
    change_job(database, plain, latest={"a": point(1.0)}, labels={"a": name})
    change_job(database, named, latest={name: point(2.0), "a": point(1.0)}, labels={name: name, "a": "b"})
    positive = Bound(metric=Metric(name=name), side=">", value=0.0)
    assert walk(database, JobFilter(metrics=(positive,))) == [[named]]
    assert walk(database, JobFilter(labels=((name, name),))) == [[named]]
    ascending = Order(metric=Metric(name=name), is_descending=False)
    assert walk(database, limit=1, order=ascending) == [[named], [plain]]


def make_experiment(database, jobs: list[str | None]) -> str:
    """An experiment with one arm, and these jobs as its cells; None of a cell that waits."""
    made = new_id("exp")
    counts = {"declared": len(jobs), "excluded": 0, "equal": 0}
    rows: list[Base] = [
        Experiment(id=made, key=made, name="e", wanted=Wanted.RUN, declaration={}, created_at=now(), **counts)
    ]
    rows.append(
        ExperimentArm(
            experiment_id=made,
            number=0,
            arm_id="a" * 64,
            name="all",
            coordinates={},
            spec={},
            resolved={},
            estimated_seconds=1.0,
        )
    )
    for number, job_id in enumerate(jobs):
        launched = {"job_id": job_id, "launched_at": now() if job_id else None, "is_reused": False}
        own = {"cell_id": f"{number:064d}", "number": number, "seed": number, "arm": 0}
        rows.append(Cell(experiment_id=made, **own, **launched))
    with database.write() as session:
        for row in rows:
            session.add(row)
            session.flush()
    return made


def test_the_jobs_of_an_experiment_alone(database):
    ids = [new_job(database, labels={"odd": str(number % 2)}) for number in range(5)]
    made, empty = make_experiment(database, [*ids[1:4], None]), make_experiment(database, [None])
    make_experiment(database, ids[3:])
    assert walk(database, JobFilter(experiment=made), limit=2) == [[ids[3], ids[2]], [ids[1]]]
    assert walk(database, JobFilter(experiment=made, labels=(("odd", "1"),))) == [[ids[3], ids[1]]]
    assert walk(database, JobFilter(experiment=empty)) == [[]]


@pytest.mark.parametrize("experiment", ["", "exp_1", "exp_" + "0" * 32, "job_" + "0" * 32, "exp_\x00"])
def test_an_experiment_that_is_not_there_is_not_found(database, experiment):
    with database.read() as session, pytest.raises(NotFound, match="experiment"):
        job_lists.page(session, JobFilter(experiment=experiment), 10)


def test_a_cursor_belongs_to_its_order(database):
    make_losses(database)
    loss, other = Metric(name="loss"), Metric(name="loss", is_best=True)
    down = Order(metric=loss)
    with database.read() as session:
        _, cursor = job_lists.page(session, ANY, 2, None, down)
        for order in (Order(metric=other), Order(metric=loss, is_descending=False), NEWEST_FIRST):
            with pytest.raises(InvalidCursor):
                job_lists.page(session, ANY, 2, cursor, order)


def encoded(*parts: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


NAME, JOB = [True, [False, "loss"]], "job_" + "0" * 32


def test_the_cursors_below_are_wrong_in_one_place_alone(database):
    with database.read() as session:
        job_lists.page(session, ANY, 2, encoded(NAME, 1.0, JOB), Order(metric=Metric(name="loss")))


@pytest.mark.parametrize(
    "cursor",
    [
        "", "a", "ü", JOB, "bm9uZQ", encoded(), encoded(NAME, 1.0), encoded(NAME, float("nan"), JOB),
        encoded(NAME, float("inf"), JOB), encoded(NAME, 1, JOB), encoded(NAME, "1", JOB), encoded(NAME, True, JOB),
        encoded(NAME, [1.0], JOB), encoded(NAME, 1.0, 5), encoded(NAME, 1.0, None), encoded(NAME, 1.0, "job_\x00"),
        encoded([True, None], 1.0, JOB), encoded("\ud800", 1.0, JOB), encoded(NAME, 1.0, JOB, 1),
        base64.urlsafe_b64encode(b"[" * 5000).decode(),
    ],
)  # fmt: skip
def test_a_cursor_that_no_page_gave_is_refused(database, cursor):
    with database.read() as session, pytest.raises(InvalidCursor):
        job_lists.page(session, ANY, 2, cursor, Order(metric=Metric(name="loss")))
