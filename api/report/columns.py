"""The table of a page: its columns, and a row for each arm."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from api.report import cells
from api.report.cells import Cell
from api.report.overview import shown_name
from api.report.schemas import ArmOut, Comparison, Report
from db.experiments.naming import text_of
from db.experiments.records import Arm
from db.spec.selection import selection_of

EQUAL, BEST = "At equal learning rate", "Each at its best rate"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One number of each arm. group: the heading over it and its neighbours; empty where it needs none."""

    group: str = ""
    head: str
    cell: Callable[[ArmOut], Cell]


@dataclass(frozen=True, kw_only=True)
class Head:
    """A heading, how many columns and lines it is over, and whether there are headings of columns below it."""

    text: str
    is_group: bool = False
    columns: int = 1
    lines: int = 1


@dataclass(frozen=True, kw_only=True)
class Row:
    """An arm, what sets it apart, and its cells."""

    arm: ArmOut
    name: str
    #: Of the trials of a search.
    is_best: bool
    settings: list[str]
    cells: list[Cell]


@dataclass(frozen=True, kw_only=True)
class Table:
    """heads: the first line; subheads: the second one, below the groups, empty where there is none."""

    heads: list[Head]
    subheads: list[str]
    rows: list[Row]


def table(report: Report, arms: Sequence[Arm]) -> Table:
    """The arms as they were declared, the trials of a search from the best on. What no arm has is no column."""
    columns = [column for column in _columns(report) if any(column.cell(arm).says for arm in report.arms)]
    names = {arm.number: shown_name(arm) for arm in arms}
    best = report.search.best_arm if report.search else None
    return Table(
        heads=_heads(columns),
        subheads=[column.head for column in columns if column.group],
        rows=[
            Row(
                arm=arm,
                name=names[arm.number],
                is_best=arm.number == best,
                settings=[f"{path} = {text_of(value)}" for path, value in arm.config.items()],
                cells=[column.cell(arm) for column in columns],
            )
            for arm in _ordered(report)
        ],
    )


def _heads(columns: Sequence[Column]) -> list[Head]:
    """Of each group, and of each column without one."""
    lines = 2 if any(column.group for column in columns) else 1
    found = list[Head]()
    for group, alike in groupby(columns, lambda column: column.group):
        if group:
            found.append(Head(text=group, is_group=True, columns=len(list(alike))))
        else:
            found += [Head(text=column.head, lines=lines) for column in alike]
    return found


def _ordered(report: Report) -> list[ArmOut]:
    search = report.search
    if search is None:
        return report.arms
    sign = -1 if selection_of(search.metric).greater_is_better else 1

    def value(arm: ArmOut) -> float | None:
        if search.metric == report.selection.metric:
            return arm.selection_median
        final = arm.final.get(search.metric)
        return final.median if final else None

    def place(arm: ArmOut) -> tuple[bool, bool, float]:
        found = value(arm)
        return arm.number != search.best_arm, found is None, sign * (found or 0.0)

    return sorted(report.arms, key=place)


def _columns(report: Report) -> list[Column]:
    """What readers look for comes first: a narrow screen shows no more."""
    metric = report.selection.metric
    measure = metric.rpartition("/")[2]
    gaps = f"Gaps in {measure}"
    finals = dict.fromkeys([metric, report.search.metric if report.search else metric])
    return [
        *(_final(name) for name in finals),
        Column(head="steps to target", cell=cells.steps),
        *_comparison(report, EQUAL, lambda arm: arm.speed_up.equal_lr),
        *_comparison(report, BEST, lambda arm: arm.speed_up.best_lr),
        Column(group=BEST, head="rates", cell=lambda arm: cells.rates(arm.speed_up.best_lr)),
        Column(group=gaps, head="train/eval", cell=lambda arm: cells.gap(arm.train_eval_gap, measure)),
        Column(group=gaps, head="precise", cell=lambda arm: cells.gap(arm.precise_gap, measure)),
        Column(head="findings", cell=cells.findings),
        Column(head="runs", cell=cells.runs),
        Column(head="time, samples", cell=cells.time),
        Column(head="best of a run", cell=lambda arm: cells.spread(arm.best, metric)),
    ]


def _final(metric: str) -> Column:
    return Column(head=f"final {metric}", cell=lambda arm: cells.spread(arm.final, metric))


def _comparison(report: Report, group: str, compared: Callable[[ArmOut], Comparison]) -> list[Column]:
    """One of the two under a heading of its own, so that none is read as the other."""
    ratio = Column(group=group, head="speed-up", cell=lambda arm: cells.ratio(compared(arm)))
    gained = Column(group=group, head="gained", cell=lambda arm: cells.difference(compared(arm)))
    return [ratio, gained] if report.target else [gained]
