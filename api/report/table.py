"""A report as a flat table: one row for each arm, and the same columns for every experiment."""

import csv
import io
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from api.report.differences import canonical
from api.report.schemas import ArmOut, Divergence, FindingCount, Report, SpeedUp, Spread, StepsToTarget
from api.schemas.base import Out
from db.experiments.status import CellStatus


class Gap(Out):
    """Medians of a difference between two modes, by measure."""

    accuracy: float | None = None
    loss: float | None = None
    rmse: float | None = None
    r2: float | None = None


class Row(Out):
    """An arm in one line. Columns are the fields by dotted path, `final.ci.low` say.

    As in `ArmOut`, but: `metric` is the selection metric, which `final` and `best` are of; `target` is the value
    that it should reach; gaps, seconds and speed are medians; coordinates and config are JSON, findings a text.
    """

    experiment: str
    number: int
    name: str
    coordinates: str
    config: str
    is_baseline: bool
    trial: int | None
    cells: dict[CellStatus, int]
    divergence: Divergence
    metric: str
    final: Spread | None
    best: Spread | None
    selection_median: float | None
    target: float | None
    steps_to_target: StepsToTarget | None
    speed_up: SpeedUp
    train_eval_gap: Gap
    precise_gap: Gap
    seconds: float | None
    samples_per_second: float | None
    reused: int
    findings: str
    arm_id: str


def to_csv(report: Report) -> str:
    """The arms by what they are compared by; other metrics are in the JSON alone. What there is not is empty."""
    written = io.StringIO()
    table = csv.DictWriter(written, [name for name, _ in _leaves(Row, None)], lineterminator="\n")
    table.writeheader()
    table.writerows(dict(_leaves(Row, _row(report, arm))) for arm in report.arms)
    return written.getvalue()


def _row(report: Report, arm: ArmOut) -> Row:
    metric = report.selection.metric
    own = {
        "experiment": report.id,
        "coordinates": canonical(arm.coordinates),
        "config": canonical(arm.config),
        "cells": {status: arm.cells.get(status, 0) for status in CellStatus},
        "metric": metric,
        "final": arm.final.get(metric),
        "best": arm.best.get(metric),
        "target": None if report.target is None else report.target.value,
        "train_eval_gap": _medians(arm.train_eval_gap),
        "precise_gap": _medians(arm.precise_gap),
        "seconds": _median(arm.seconds),
        "samples_per_second": _median(arm.samples_per_second),
        "findings": "; ".join(map(_finding, arm.findings)),
    }
    return Row(**{name: getattr(arm, name) for name in Row.model_fields if name not in own}, **own)


def _medians(spreads: Mapping[str, Spread]) -> Gap:
    return Gap(**{measure: _median(spreads.get(measure)) for measure in Gap.model_fields})


def _median(spread: Spread | None) -> float | None:
    return None if spread is None else spread.median


def _finding(found: FindingCount) -> str:
    return f"{found.code} ({found.severity}) in {found.runs}"


def _leaves(kind: Any, value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each field that holds no others, by dotted path: those of the kind, also where there is no value."""
    parts = _parts(_without_none(kind), value)
    if not parts:
        yield path, value
    for name, inner, found in parts:
        yield from _leaves(inner, found, f"{path}.{name}" if path else name)


def _without_none(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is UnionType else kind


def _parts(kind: Any, value: Any) -> list[tuple[str, Any, Any]]:
    """Name, kind and value of each part; of a dictionary each key that its kind has."""
    if get_origin(kind) is dict:
        keys, inner = get_args(kind)
        return [(key, inner, value and value[key]) for key in keys]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [(name, field.annotation, getattr(value, name, None)) for name, field in kind.model_fields.items()]
    return []
