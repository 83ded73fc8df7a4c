"""The table of a page: its columns, and a row for each arm."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from api.report import cells
from api.report.cells import Cell
from api.report.schemas import ArmOut, Report
from db.experiments.naming import text_of

EQUAL, BEST = "At equal learning rate", "Each at its best learning rate"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One number of each arm. group: the heading over it and its neighbours."""

    group: str
    head: str
    cell: Callable[[ArmOut], Cell]
    #: Of a target: left out where none was declared.
    needs_target: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """An arm, what sets it apart, and its cells."""

    arm: ArmOut
    settings: list[str]
    cells: list[Cell]


@dataclass(frozen=True, kw_only=True)
class Table:
    """groups: each heading and how many columns it is over."""

    groups: list[tuple[str, int]]
    heads: list[str]
    rows: list[Row]


def table(report: Report) -> Table:
    """The arms, as they were declared."""
    columns = [each for each in _columns(report) if report.target is not None or not each.needs_target]
    return Table(
        groups=[(group, len(list(alike))) for group, alike in groupby(columns, lambda column: column.group)],
        heads=[column.head for column in columns],
        rows=[
            Row(
                arm=arm,
                settings=[f"{path} = {text_of(value)}" for path, value in arm.config.items()],
                cells=[column.cell(arm) for column in columns],
            )
            for arm in report.arms
        ],
    )


def _columns(report: Report) -> list[Column]:
    metric = report.selection.metric
    measure = metric.rpartition("/")[2]
    gaps = f"Gaps in {measure}"
    # Both speed-ups before what is wide: a usual screen shows the one with the other.
    return [
        Column(group="Runs", head="succeeded", cell=cells.progress),
        Column(group="Runs", head="diverged", cell=cells.divergence),
        Column(group=metric, head="final", cell=lambda arm: cells.spread(arm.final, metric)),
        Column(group="Target", head="steps to it", cell=cells.steps, needs_target=True),
        *_comparisons(),
        Column(group=gaps, head="train/eval", cell=lambda arm: cells.gap(arm.train_eval_gap, measure)),
        Column(group=gaps, head="precise", cell=lambda arm: cells.gap(arm.precise_gap, measure)),
        Column(group=metric, head="best of a run", cell=lambda arm: cells.spread(arm.best, metric)),
        Column(group="Diagnosis", head="findings", cell=cells.findings),
        Column(group="Cost", head="time", cell=cells.time),
    ]


def _comparisons() -> list[Column]:
    """The two of a speed-up under headings of their own, so that none is read as the other."""
    ratio, less = "speed-up", "final, difference"
    return [
        Column(group=EQUAL, head=ratio, cell=lambda arm: cells.ratio(arm.speed_up.equal_lr), needs_target=True),
        Column(group=EQUAL, head=less, cell=lambda arm: cells.difference(arm.speed_up.equal_lr)),
        Column(group=BEST, head="rates", cell=lambda arm: cells.rates(arm.speed_up.best_lr)),
        Column(group=BEST, head=ratio, cell=lambda arm: cells.ratio(arm.speed_up.best_lr), needs_target=True),
        Column(group=BEST, head=less, cell=lambda arm: cells.difference(arm.speed_up.best_lr)),
    ]
